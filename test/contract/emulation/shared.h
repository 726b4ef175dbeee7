/*
 * EMULATION, for tests on Linux alone: somebody who shares each socket does something to it between a peek and the
 * receive that takes. By default, asks for credentials meanwhile, and has every other message sent with them: so fewer
 * bytes are joined when they are taken than when they were peeked at. Included before everything else of what is to be
 * tested over it.
 */
#ifndef EMULATED_SHARED_H
#define EMULATED_SHARED_H

#include <sys/socket.h>

/* Are called before and after each message that is peeked at, or taken from the socket that this thread peeked at. */
extern void (*shared_before)(int socket, int flags), (*shared_after)(int socket, int flags);

int emulated_sendmmsg(int socket, struct mmsghdr *message, unsigned count, int flags);
ssize_t emulated_recvmsg(int socket, struct msghdr *message, int flags);
int emulated_recvmmsg(int socket, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout);

#ifndef EMULATION
#define sendmmsg emulated_sendmmsg
#define recvmsg emulated_recvmsg
#define recvmmsg emulated_recvmmsg
#endif
#endif
