/* EMULATION, for tests on Linux alone: see stropts.h. */
#define EMULATION
#include "stropts.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

union control {
  struct cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int))];
};

/* Which pipe is attached to which path, for this process and those that it forks. */
enum { ATTACHED = 8 };
static struct attachment {
  char path[108];
  int stream;
} attached[ATTACHED];

static struct attachment *find(const char *path) {
  for (struct attachment *at = attached; at < attached + ATTACHED; at++)
    if (strcmp(at->path, path) == 0)
      return at;
  return NULL;
}

int isastream(int fd) {
  int type;
  socklen_t length = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length))
    return errno == ENOTSOCK ? 0 : -1;
  return type == SOCK_SEQPACKET;
}

int emulated_pipe(int ends[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends); }

static int send_descriptor(int stream, int fd) {
  char byte = 0;
  union control control;
  struct iovec part = {&byte, 1};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  memset(&control, 0, sizeof control);
  control.align.cmsg_level = SOL_SOCKET;
  control.align.cmsg_type = SCM_RIGHTS;
  control.align.cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
  if (sendmsg(stream, &header, MSG_NOSIGNAL) >= 0)
    return 0;
  if (errno == EPIPE || errno == ECONNRESET)
    errno = ENXIO; /* the stream was hung up */
  return -1;
}

/* A descriptor that finds no slot is put back at the head of the stream; so is what is no descriptor. */
static int receive_descriptor(int stream, struct strrecvfd *received) {
  char byte;
  union control control;
  struct iovec part = {&byte, 1};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t length = recvmsg(stream, &header, MSG_PEEK);
  if (length < 0) {
    if (errno == ECONNRESET)
      errno = ENXIO;
    return -1;
  }
  struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
  if (!rights) {
    errno = header.msg_flags & MSG_CTRUNC ? EMFILE : length == 0 ? ENXIO : EBADMSG;
    return -1;
  }
  memcpy(&received->fd, CMSG_DATA(rights), sizeof received->fd);
  received->uid = getuid();
  received->gid = getgid();
  recv(stream, &byte, 1, 0);
  return 0;
}

int emulated_ioctl(int stream, int request, ...) {
  va_list arguments;
  int result = -1;
  if (isastream(stream) != 1) {
    errno = ENOSTR;
    return -1;
  }
  va_start(arguments, request);
  if (request == I_SENDFD)
    result = send_descriptor(stream, va_arg(arguments, int));
  else if (request == I_RECVFD)
    result = receive_descriptor(stream, va_arg(arguments, struct strrecvfd *));
  else if (request == I_PUSH && strcmp(va_arg(arguments, const char *), "connld") == 0)
    result = 0; /* open does what connld would */
  else
    errno = EINVAL;
  va_end(arguments);
  return result;
}

int fattach(int stream, const char *path) {
  struct stat status;
  struct attachment *free = find("");
  if (isastream(stream) != 1 || stat(path, &status) || find(path) || strlen(path) >= sizeof free->path) {
    errno = EINVAL;
    return -1;
  }
  free->stream = fcntl(stream, F_DUPFD_CLOEXEC, 0);
  if (free->stream < 0)
    return -1;
  strcpy(free->path, path);
  return 0;
}

int fdetach(const char *path) {
  struct attachment *at = find(path);
  if (!at) {
    errno = EINVAL;
    return -1;
  }
  close(at->stream);
  at->path[0] = 0;
  return 0;
}

/* A new pipe for each that opens the path: connld sends its other end to the server. */
int emulated_open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  struct attachment *at = find(path);
  if (!at || flags & O_CREAT)
    return open(path, flags, mode);
  int ends[2];
  if (emulated_pipe(ends))
    return -1;
  if (send_descriptor(at->stream, ends[1])) {
    close(ends[0]);
    close(ends[1]);
    return errno == ENXIO ? open(path, flags) : -1; /* its server has gone, and with it what covered the file */
  }
  close(ends[1]);
  if (flags & O_NONBLOCK)
    fcntl(ends[0], F_SETFL, O_RDWR | O_NONBLOCK);
  return ends[0];
}

/* The end of a socket makes it readable. The end of a stream is only a hang-up. */
int emulated_poll(struct pollfd *fd, nfds_t count, int timeout) {
  int result = poll(fd, count, timeout);
  for (nfds_t i = 0; i < count; i++) {
    char byte;
    if (fd[i].revents & POLLIN && fd[i].revents & POLLHUP && recv(fd[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
      fd[i].revents &= ~POLLIN;
  }
  return result;
}
