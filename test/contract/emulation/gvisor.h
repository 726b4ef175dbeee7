/*
 * EMULATION, for tests on Linux alone: what gVisor does otherwise than Linux, as far as its sources tell (pkg/sentry).
 * Included before everything else of what is to be tested over it.
 */
#ifndef EMULATED_GVISOR_H
#define EMULATED_GVISOR_H

#include <sys/socket.h>

int emulated_getsockopt(int socket, int level, int option, void *value, socklen_t *length);
int emulated_setsockopt(int socket, int level, int option, const void *value, socklen_t length);
int emulated_sendmmsg(int socket, struct mmsghdr *message, unsigned count, int flags);
int emulated_recvmmsg(int socket, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout);

#ifndef EMULATION
#define getsockopt emulated_getsockopt
#define setsockopt emulated_setsockopt
#define sendmmsg emulated_sendmmsg
#define recvmmsg emulated_recvmmsg
#endif
#endif
