/*
 * The 4.3BSD interface: descriptors travel as msg_accrights, which are plain numbers beside the bytes. The headers of
 * Solaris and AIX have it unless X/Open is asked for. It has no flags, so nothing tells whether descriptors were cut
 * off. Therefore there is always room for as many as the system passes.
 */
#include "transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __sun
enum { MOST = 2048 };
#else
enum { MOST = 256 };
#endif

const int fdp_most = MOST;

#ifdef MSG_DONTWAIT
enum { NOW = MSG_DONTWAIT };
#else
enum { NOW = 0 };
#endif

int fdp_attach(int socket) {
  int type = fdp_socket_type(socket);
  if (type < 0)
    return type;
  int error = NOW ? 0 : fdp_nonblocking(socket, 1);
  return error ? error : fdp_set_options(socket);
}

void fdp_detach(int socket, int changed) { fdp_put_back_options(socket, changed); }

ssize_t fdp_put(int socket, const uint8_t *bytes, size_t size, const int32_t *fd, int count) {
  struct iovec part = {(void *)(uintptr_t)bytes, size};
  struct msghdr header = {0};
  ssize_t length;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (count > 0) {
    header.msg_accrights = (void *)(uintptr_t)fd;
    header.msg_accrightslen = count * (int)sizeof *fd;
  }
  do
    length = sendmsg(socket, &header, NOW);
  while (length < 0 && errno == EINTR);
  return length < 0 ? -errno : length;
}

int fdp_take(int socket, uint8_t *bytes, uint32_t stride, int32_t *size, int32_t *fd, int32_t *count) {
  struct iovec part = {bytes, stride};
  struct msghdr header = {0};
  ssize_t length;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_accrights = (void *)fd;
  header.msg_accrightslen = MOST * (int)sizeof *fd;
  do
    length = recvmsg(socket, &header, NOW);
  while (length < 0 && errno == EINTR);
  /* These errors come when the table has no room, after the kernel has destroyed the descriptors. */
  if (length < 0)
    return errno == EMSGSIZE || errno == EMFILE ? -EIO : -errno;
  *size = (int32_t)length;
  *count = header.msg_accrightslen / (int)sizeof *fd;
  int ended = length == 0 && *count == 0 ? fdp_has_ended(socket) : 0;
  if (ended)
    return ended < 0 ? ended : 0;
  for (int32_t i = 0; i < *count; i++)
    fdp_close_on_exec(fd[i]);
  return 1;
}

/* This interface has no credentials, by which a packet without bytes could be told. */
int fdp_has_packet(int socket) {
  (void)socket;
  return 0;
}
