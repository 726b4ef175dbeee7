/*
 * The System V interface: a STREAMS pipe, over which an ioctl sends one descriptor and no bytes. A server attaches one
 * end of a pipe to a path. The module connld(7) on it makes a new pipe for each process that opens the path, and sends
 * the other end of that pipe to the server.
 *
 * So a message has exactly one descriptor. Its one byte is not sent, and the receiver gets a message without bytes. If
 * there is no slot for a descriptor, the message goes back to the head of the stream. So no slots need be reserved.
 */
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stropts.h>
#include <sys/stat.h>
#include <unistd.h>

int fdp_socket_type(int stream) {
  int is = isastream(stream);
  return is < 0 ? -errno : is ? FDP_SEQPACKET : -ENOTSOCK;
}

int fdp_is_socket(int fd) { return isastream(fd) == 1; }

/* Only this flag keeps the ioctls from blocking. */
int fdp_attach(int stream) {
  int type = fdp_socket_type(stream);
  return type < 0 ? type : fdp_nonblocking(stream, 1);
}

void fdp_detach(int stream, int changed) {
  (void)stream;
  (void)changed;
}

ssize_t fdp_put(int stream, const uint8_t *bytes, size_t size, const int32_t *fd, int count) {
  int status;
  (void)bytes;
  if (size != 1 || count != 1)
    return -EINVAL;
  do
    status = ioctl(stream, I_SENDFD, *fd);
  while (status < 0 && errno == EINTR);
  if (status < 0)
    return errno == ENXIO ? -EPIPE : -errno;
  return 1;
}

/* What poll(2) reports now, or a negative errno. */
static int state_of(int stream, short events) {
  struct pollfd state = {.fd = stream, .events = events};
  int status;
  do
    status = poll(&state, 1, 0);
  while (status < 0 && errno == EINTR);
  if (status < 0)
    return -errno;
  return state.revents & POLLNVAL ? -EBADF : state.revents;
}

int fdp_pending(int stream) {
  int state = state_of(stream, POLLIN);
  if (state < 0)
    return state;
  if (state & POLLIN)
    return 1;
  return state & (POLLHUP | POLLERR) ? 0 : -EAGAIN;
}

/* The end of a pipe ends both directions. */
int fdp_hung_up(int stream) {
  int state = state_of(stream, 0);
  return state < 0 ? state : (state & POLLHUP) != 0;
}

int fdp_look(int stream, uint8_t *bytes, uint32_t stride) {
  (void)bytes;
  (void)stride;
  return fdp_pending(stream);
}

int fdp_take(int stream, uint8_t *bytes, uint32_t stride, int32_t *size, int32_t *fd, int32_t *count) {
  struct strrecvfd received;
  int status;
  do
    status = ioctl(stream, I_RECVFD, &received);
  while (status < 0 && errno == EINTR);
  if (status == 0) {
    *size = 0;
    *count = 1;
    *fd = received.fd;
    fdp_close_on_exec(received.fd);
    return 1;
  }
  if (errno == ENXIO)
    return 0;
  if (errno != EBADMSG)
    return -errno;
  /* Bytes came. Their sender does not use this interface, and the caller will report that. */
  ssize_t length;
  do
    length = read(stream, bytes, stride);
  while (length < 0 && errno == EINTR);
  if (length < 0)
    return -errno;
  *size = (int32_t)length;
  *count = 0;
  return 1;
}

/* Nothing to do: a message for which there is no slot goes back. */
int fdp_reserve(int expected) {
  (void)expected;
  return 0;
}

void fdp_reserve_end(void) {}

/* One direction of a pipe cannot end alone. Closing the pipe ends both. */
int fdp_end_sending(int stream) {
  (void)stream;
  return -EOPNOTSUPP;
}

/* ---- endpoints -------------------------------------------------------------------------------------------------- */

int fdp_pair(enum fdp_type type, int pair[2]) {
  if (type != FDP_SEQPACKET)
    return -EPROTONOSUPPORT;
  if (pipe(pair))
    return -errno;
  fdp_close_on_exec(pair[0]);
  fdp_close_on_exec(pair[1]);
  return 0;
}

/* Makes the file that the stream will be attached to. As long as it is attached, opening the path opens the stream. */
static int make_path(const char *name, unsigned mode) {
  int fd = open(name, O_CREAT | O_EXCL | O_RDONLY, (mode_t)mode);
  if (fd < 0)
    return errno == EEXIST ? -EADDRINUSE : -errno;
  fdp_close(fd);
  return 0;
}

int fdp_listen(enum fdp_type type, const char *name, size_t length, unsigned mode, int backlog) {
  int ends[2];
  (void)backlog;
  if (length == 0 || name[length - 1])
    return -EINVAL;
  int error = fdp_pair(type, ends);
  if (error)
    return error;
  if ((error = fdp_nonblocking(ends[0], 1)) || (error = make_path(name, mode)))
    goto fail;
  if (ioctl(ends[1], I_PUSH, "connld") || fattach(ends[1], name)) {
    error = -errno;
    unlink(name);
    goto fail;
  }
  fdp_close(ends[1]); /* the path keeps it open */
  return ends[0];
fail:
  fdp_close(ends[0]);
  fdp_close(ends[1]);
  return error;
}

int fdp_connect(enum fdp_type type, const char *name, size_t length) {
  if (type != FDP_SEQPACKET)
    return -EPROTOTYPE;
  if (length == 0 || name[length - 1])
    return -EINVAL;
  int fd = open(name, O_RDWR | O_NONBLOCK);
  if (fd < 0)
    return -errno;
  if (isastream(fd) != 1) { /* this is the file itself, because its server has gone */
    fdp_close(fd);
    return -ECONNREFUSED;
  }
  fdp_close_on_exec(fd);
  return fd;
}

int fdp_accept(int listener) {
  int32_t size, fd, count = 0;
  uint8_t byte;
  int result = fdp_take(listener, &byte, 1, &size, &fd, &count);
  if (result <= 0)
    return result ? result : -ECONNABORTED;
  if (count == 0)
    return -EPROTO;
  int error = fdp_nonblocking(fd, 1);
  if (error)
    fdp_close(fd);
  return error ? error : fd;
}

int fdp_name(int stream, char *name, size_t room) {
  (void)stream;
  (void)name;
  (void)room;
  return -EOPNOTSUPP;
}

int fdp_peer(int stream, struct fdp_peer *peer) {
  (void)stream;
  (void)peer;
  return -EOPNOTSUPP;
}
