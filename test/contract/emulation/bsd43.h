/*
 * EMULATION, for tests on Linux alone: sendmsg and recvmsg as 4.3BSD and Solaris have them without X/Open, with
 * msg_accrights. Included before everything else of what is to be tested over it.
 */
#ifndef EMULATED_BSD43_H
#define EMULATED_BSD43_H

#include <sys/socket.h>
#include <sys/uio.h>

struct emulated_msghdr {
  void *msg_name;
  int msg_namelen;
  struct iovec *msg_iov;
  int msg_iovlen;
  void *msg_accrights;
  int msg_accrightslen;
};

ssize_t emulated_sendmsg(int socket, const struct emulated_msghdr *message, int flags);
ssize_t emulated_recvmsg(int socket, struct emulated_msghdr *message, int flags);

#ifndef EMULATION
#define msghdr emulated_msghdr
#define sendmsg emulated_sendmsg
#define recvmsg emulated_recvmsg
#endif
#endif
