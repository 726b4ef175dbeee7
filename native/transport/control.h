/* Control messages of the 4.4BSD interface (cmsg(3)). */
#ifndef FDP_CONTROL_H
#define FDP_CONTROL_H

#include "transport.h"

#include <sys/socket.h>

/* The most descriptors that a received message may bring. Some systems pass more than is sent from here. */
#if defined(__linux__)
enum { FDP_MOST = FDP_MAX_FDS };
#elif defined(__sun)
enum { FDP_MOST = 2048 };
#else
enum { FDP_MOST = 256 };
#endif

enum {
  FDP_RIGHTS = CMSG_SPACE(FDP_MOST * sizeof(int)),
  /* Room for what the system puts beside descriptors if somebody has asked for it: times, credentials, a process
   * descriptor, a count of bytes and a security label. The label is the longest, a page at most. Linux puts the times
   * and the label before the descriptors. */
  FDP_OTHERS_CONTROL = 256 + 4096
};

/* Room for the descriptors of one message. */
union fdp_rights {
  struct cmsghdr align;
  char bytes[FDP_RIGHTS];
};

/* Room for everything that can come. */
union fdp_control {
  struct cmsghdr align;
  char bytes[FDP_RIGHTS + FDP_OTHERS_CONTROL];
};

/* Puts these descriptors into the message, in the room of `control`. Without descriptors there is no control message.
 */
void fdp_pack(struct msghdr *message, union fdp_rights *control, const int32_t *fd, int32_t count);

struct fdp_unpacked {
  int32_t count; /* descriptors */
  int others;    /* whether there were control messages without descriptors for us */
};

/* Copies the descriptors of a message to `fd`. They are open, and the caller's. Closes the process descriptors that the
 * kernel added. */
struct fdp_unpacked fdp_unpack(struct msghdr *message, int32_t *fd);

/* recvmsg(2), or a call that replaces it, without waiting. Returns a length or a negative errno. */
ssize_t fdp_recvmsg(int socket, struct msghdr *message, int flags);

#endif
