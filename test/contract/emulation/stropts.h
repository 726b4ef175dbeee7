/* EMULATION, for tests on Linux alone: STREAMS pipes, as far as descriptors are passed over them. It takes the place of
 * the system's own <stropts.h>. A pipe is a pair of SOCK_SEQPACKET sockets here, and a passed descriptor a message of
 * one byte with it. */
#ifndef EMULATED_STROPTS_H
#define EMULATED_STROPTS_H

#include <fcntl.h>
#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

enum { I_PUSH = 0x5302, I_RECVFD = 0x530e, I_SENDFD = 0x5311 };

struct strrecvfd {
  int fd;
  uid_t uid;
  gid_t gid;
};

int emulated_pipe(int ends[2]);
int emulated_ioctl(int stream, int request, ...);
int emulated_open(const char *path, int flags, ...);
int emulated_poll(struct pollfd *fd, nfds_t count, int timeout);
int isastream(int fd);
int fattach(int stream, const char *path);
int fdetach(const char *path);

#ifndef EMULATION
#define pipe emulated_pipe
#define ioctl emulated_ioctl
#define open emulated_open
#define poll emulated_poll
#endif
#endif
