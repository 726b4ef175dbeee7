/*
 * What the files of this folder share. The contract with everyone else is fdpasser.h.
 *
 * The build chooses the files that carry descriptors (src/cli/transports.js), and defines a name for its choice:
 * FDP_PEEK for linux.c, FDP_BSD43 for accrights.c, FDP_SYSV for streams.c, none for rights.c. All but linux.c send and
 * receive one message at a time, and use one-by-one.c.
 */
#ifndef FDP_TRANSPORT_H
#define FDP_TRANSPORT_H

#include "../fdpasser.h"

#include <sys/types.h>

#if !defined(FDP_BSD43) && !defined(FDP_SYSV)
#define FDP_BSD44 1
#endif

/* Whether a receive can show descriptors and leave the message in the queue. Other systems show none, zeroes or the
 * kernel's own pointers. */
#ifndef FDP_PEEK
#define FDP_PEEK 0
#endif

/* Whether the umask alone decides a path's mode. On Linux the socket's own mode counts. */
#if !defined(FDP_UMASK) && !defined(__linux__)
#define FDP_UMASK 1
#endif

/* Whether a socket that was sent must stay open here until the peer has received it: see hold.c. */
#ifndef FDP_HOLD
#define FDP_HOLD 0
#endif

/* ---- options.c ----------------------------------------------------------------------------------------------- */

/* Sets the options that receiving needs. Returns which of them it changed: never a negative number. */
int fdp_set_options(int socket);
void fdp_put_back_options(int socket, int changed);

/* ---- socket.c: what is known of an AF_UNIX socket, whatever carries the descriptors -------------------------- */

/* SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, or a negative errno. */
int fdp_type_of(int socket);

/* Says what a receive of no bytes meant. 1: it was the end. 0: it was a message without bytes. Otherwise a negative
 * errno. */
int fdp_has_ended(int socket);

/* Says what to return when a receive has found nothing: -EAGAIN, 0 or another negative errno. 0 stands for a datagram
 * socket whose receiving was shut down by somebody who shares it (shutdown(2)); Linux reports that as if nothing were
 * there. */
int fdp_nothing(int socket);

/* Whether nothing more can come than what is there: 1, 0 or a negative errno. */
int fdp_is_shut(int socket);

/* Whether a packet is known to be there: 1, 0 or a negative errno. A packet without bytes looks like the end, but each
 * has credentials if these are asked for. */
int fdp_has_packet(int socket);

/* ---- one interface: one message ------------------------------------------------------------------------------- */

/* The most descriptors that one message may bring on this system. */
extern const int fdp_most;

/* Sends one message and returns how many bytes the kernel took, or a negative errno. Borrows the descriptors. */
ssize_t fdp_put(int socket, const uint8_t *bytes, size_t size, const int32_t *fd, int count);

/*
 * Says what fdp_take would find, and takes nothing. 1: a message. 0: the end. -EAGAIN: nothing. -EMSGSIZE: a packet
 * longer than the stride. Or another negative errno. May write to the bytes.
 */
int fdp_look(int socket, uint8_t *bytes, uint32_t stride);

/*
 * Takes one message. 1: its size and count are set, and its descriptors are the caller's. 0: the end. After a negative
 * errno no descriptor is open. -EIO: descriptors are lost.
 */
int fdp_take(int socket, uint8_t *bytes, uint32_t stride, int32_t *size, int32_t *fd, int32_t *count);

/* ---- reserve.c: free slots for what is about to be received --------------------------------------------------- */

/*
 * Waits until no other thread of this process receives, and checks that there are slots for a message that is expected
 * to bring `expected` descriptors. 0: receive now, then call fdp_reserve_end. -EMFILE: there are too few slots.
 */
int fdp_reserve(int expected);
void fdp_reserve_end(void);

/* ---- hold.c: sockets in flight -------------------------------------------------------------------------------- */

struct fdp_held;

/*
 * To be called before a message is sent over `carrier`. Duplicates those of its descriptors that are sockets. -ENOBUFS:
 * too many duplicates wait for the peer, or there is no room for these; try again later. `held` is NULL afterwards if
 * there is nothing to hold.
 */
int fdp_hold(int carrier, const int32_t *fd, int count, struct fdp_held **held);

/* To be called after the send. If the message was sent, the duplicates are closed when the peer has read it. If not,
 * they are closed at once. */
void fdp_hold_end(struct fdp_held *held, int sent);

#endif
