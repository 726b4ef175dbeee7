/*
 * SCM_RIGHTS (unix(7), cmsg(3)) on systems where a peek shows no descriptors. For Linux see linux.c.
 */
#include "control.h"

#include <errno.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

const int fdp_most = FDP_MOST;

/* On macOS a receive cannot set close-on-exec. */
#ifdef MSG_CMSG_CLOEXEC
enum { RECEIVE = MSG_CMSG_CLOEXEC };
static void close_all_on_exec(const int32_t *fd, int32_t count) {
  (void)fd;
  (void)count;
}
#else
enum { RECEIVE = 0 };
static void close_all_on_exec(const int32_t *fd, int32_t count) {
  for (int32_t i = 0; i < count; i++)
    fdp_close_on_exec(fd[i]);
}
#endif

#ifdef MSG_NOSIGNAL
enum { SEND = MSG_DONTWAIT | MSG_NOSIGNAL };
#else
enum { SEND = MSG_DONTWAIT };
#endif

int fdp_attach(int socket) {
  int type = fdp_socket_type(socket);
  if (type < 0)
    return type;
#ifdef SO_PEEK_OFF
  int off = -1;
  setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off); /* so that a peek begins at the first byte */
#endif
  return fdp_set_options(socket);
}

void fdp_detach(int socket, int changed) { fdp_put_back_options(socket, changed); }

/* What the errno of a failed send means. */
static int send_error(int socket, int error) {
  (void)socket;
#ifdef __APPLE__
  if (error == EPROTOTYPE) /* the peer has just ended */
    return -ECONNRESET;
  /* The room for control shrinks while the peer's buffer fills, and grows again later. */
  if (error == EMSGSIZE && fdp_socket_type(socket) == FDP_STREAM)
    return -ENOBUFS;
#endif
#ifndef __linux__
  if (error == ETOOMANYREFS) /* as with ENOBUFS, only waiting helps */
    return -ENOBUFS;
#endif
  return -error;
}

ssize_t fdp_put(int socket, const uint8_t *bytes, size_t size, const int32_t *fd, int count) {
  struct iovec part = {(void *)(uintptr_t)bytes, size};
  struct msghdr header = {0};
  union fdp_rights control;
  ssize_t length;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  fdp_pack(&header, &control, fd, count);
  do
#if defined(__linux__) && !defined(__GLIBC__)
    length = syscall(SYS_sendmsg, socket, &header, SEND); /* musl's function returns ENOMEM for this much control */
#else
    length = sendmsg(socket, &header, SEND);
#endif
  while (length < 0 && errno == EINTR);
  return length < 0 ? send_error(socket, errno) : length;
}

ssize_t fdp_recvmsg(int socket, struct msghdr *message, int flags) {
  ssize_t length;
  do
    length = recvmsg(socket, message, flags | MSG_DONTWAIT);
  while (length < 0 && errno == EINTR);
  return length < 0 ? -errno : length;
}

int fdp_take(int socket, uint8_t *bytes, uint32_t stride, int32_t *size, int32_t *fd, int32_t *count) {
  struct iovec part = {bytes, stride};
  struct msghdr header = {0};
  union fdp_control control;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = &control;
  header.msg_controllen = sizeof control;
  ssize_t length = fdp_recvmsg(socket, &header, RECEIVE);
  /* These errors come when the table has no room, after the kernel has destroyed the descriptors. */
  if (length < 0)
    return length == -EMSGSIZE || length == -EMFILE ? -EIO : (int)length;
  struct fdp_unpacked got = fdp_unpack(&header, fd);
  if (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) {
    fdp_close_lost(socket, fd, got.count);
    return -EIO;
  }
  int ended = length == 0 && got.count == 0 ? fdp_has_ended(socket) : 0;
  if (ended)
    return ended < 0 ? ended : 0;
  close_all_on_exec(fd, got.count);
  *size = (int32_t)length;
  *count = got.count;
  return 1;
}
