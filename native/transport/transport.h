/*
 * What the files of this folder share. fdpasser.h is the contract with everyone else.
 *
 * The build chooses which files carry descriptors (src/cli/transports.js), and says so by these names: FDP_PEEK for
 * linux.c, FDP_BSD43 for accrights.c, FDP_SYSV for streams.c; rights.c without any. All but linux.c send and receive
 * one message at a time, with what one-by-one.c says around it.
 */
#ifndef FDP_TRANSPORT_H
#define FDP_TRANSPORT_H

#include "../fdpasser.h"

#include <sys/types.h>

#if !defined(FDP_BSD43) && !defined(FDP_SYSV)
#define FDP_BSD44 1
#endif

/* Whether a receive can look at descriptors and leave the message in the queue. Elsewhere a peek shows none, zeroes or
 * the kernel's own pointers. */
#ifndef FDP_PEEK
#define FDP_PEEK 0
#endif

/* Whether a path's mode is what the umask leaves of it: only Linux takes the socket's own. */
#if !defined(FDP_UMASK) && !defined(__linux__)
#define FDP_UMASK 1
#endif

/* Whether a socket in flight must stay open here until the peer has read it: see hold.c. */
#ifndef FDP_HOLD
#define FDP_HOLD 0
#endif

/* ---- options.c ----------------------------------------------------------------------------------------------- */

/* Gives the socket the options that receiving needs, and returns which were otherwise: never a negative number. */
int fdp_set_options(int socket);
void fdp_put_back_options(int socket, int changed);

/* ---- socket.c: what is known of an AF_UNIX socket, whatever carries the descriptors -------------------------- */

/* SOCK_STREAM and its like, or a negative errno. */
int fdp_type_of(int socket);

/* After a receive of no bytes: 1 if that was the end, 0 if a message without bytes, or a negative errno. */
int fdp_has_ended(int socket);

/* After a receive that found nothing: -EAGAIN; or 0, where Linux says no more than that of a datagram socket whose
 * receiving somebody who shares it has shut down (shutdown(2)). Or another negative errno. */
int fdp_nothing(int socket);

/* Whether nothing comes any more but what is there: 1, 0 or a negative errno. */
int fdp_is_shut(int socket);

/* Whether a packet is there, or none can be told: 1, 0 or a negative errno. One without bytes looks like the end; but
 * where credentials are asked for, each has some. */
int fdp_has_packet(int socket);

/* ---- one interface: one message ------------------------------------------------------------------------------- */

/* The most descriptors that the system may bring in one message. */
extern const int fdp_most;

/* Sends one message and returns how many bytes the kernel took, or a negative errno. Borrows the descriptors. */
ssize_t fdp_put(int socket, const uint8_t *bytes, size_t size, const int32_t *fd, int count);

/*
 * Tells, taking nothing, what fdp_take would find: 1 a message, 0 the end, or a negative errno: -EAGAIN for nothing,
 * -EMSGSIZE for a packet longer than the stride. May write to the bytes.
 */
int fdp_look(int socket, uint8_t *bytes, uint32_t stride);

/*
 * Takes one message: 1 with its size and count, whose descriptors are the caller's; 0 for the end; or a negative errno,
 * after which none is open. -EIO: descriptors are lost.
 */
int fdp_take(int socket, uint8_t *bytes, uint32_t stride, int32_t *size, int32_t *fd, int32_t *count);

/* ---- reserve.c: free slots for what is about to be received --------------------------------------------------- */

/*
 * Waits until nobody else in this process receives, and makes sure that there are slots for a message that is expected
 * to bring so many descriptors. 0: receive now, then call fdp_reserve_end. -EMFILE: there are too few.
 */
int fdp_reserve(int expected);
void fdp_reserve_end(void);

/* ---- hold.c: sockets in flight -------------------------------------------------------------------------------- */

struct fdp_held;

/*
 * Before a message is sent over `carrier`: duplicates those of its descriptors that are sockets. -ENOBUFS: too many
 * wait to be read, or there is no room for the duplicates; try again later. `held` may be NULL afterwards: nothing to
 * hold.
 */
int fdp_hold(int carrier, const int32_t *fd, int count, struct fdp_held **held);

/* After that: if the message was sent, they are closed when the peer has read it; if not, at once. */
void fdp_hold_end(struct fdp_held *held, int sent);

#endif
