/*
 * EMULATION, for tests on Linux alone: what qemu-user does otherwise than Linux. SO_PEEK_OFF is a number that no kernel
 * knows, so that this one answers as to any other; the calls are those of no-offset.c. Included before everything else
 * of what is to be tested over it.
 */
#ifndef EMULATED_NO_OFFSET_H
#define EMULATED_NO_OFFSET_H

#include <sys/socket.h>

int emulated_sendmmsg(int socket, struct mmsghdr *message, unsigned count, int flags);
ssize_t emulated_recvmsg(int socket, struct msghdr *message, int flags);
int emulated_recvmmsg(int socket, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout);

#ifndef EMULATION
#undef SO_PEEK_OFF
#define SO_PEEK_OFF 0x7fffffff
#define sendmmsg emulated_sendmmsg
#define recvmsg emulated_recvmsg
#define recvmmsg emulated_recvmmsg
#endif
#endif
