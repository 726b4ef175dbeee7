/* Questions about an AF_UNIX socket that do not depend on the interface for descriptors. */
#include "transport.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

int fdp_type_of(int socket) {
  int type;
  socklen_t length = sizeof type;
  return getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &length) ? -errno : type;
}

int fdp_is_socket(int fd) { return fdp_domain(fd) == AF_UNIX; }

int fdp_socket_type(int socket) {
  int domain = fdp_domain(socket);
  if (domain < 0)
    return domain;
  int type = fdp_type_of(socket);
  if (type < 0)
    return type;
  int listening = fdp_listening(socket);
  if (listening < 0)
    return listening;
  if (domain != AF_UNIX)
    return -EAFNOSUPPORT;
  if (listening)
    return -EINVAL;
  return type == SOCK_STREAM ? FDP_STREAM : type == SOCK_SEQPACKET ? FDP_SEQPACKET : FDP_DGRAM;
}

int fdp_end_sending(int socket) { return shutdown(socket, SHUT_WR) ? -errno : 0; }

int fdp_has_ended(int socket) {
  if (fdp_type_of(socket) == SOCK_STREAM)
    return 1;
  int shut = fdp_is_shut(socket);
  if (shut <= 0)
    return shut;
  int packet = fdp_has_packet(socket);
  return packet < 0 ? packet : !packet;
}

int fdp_nothing(int socket) {
  int ended = fdp_type_of(socket) == SOCK_DGRAM ? fdp_has_ended(socket) : 0;
  return ended > 0 ? 0 : ended < 0 ? ended : -EAGAIN;
}

int fdp_hung_up(int socket) {
#ifdef __linux__
  /* poll(2) reports POLLHUP only when both directions have ended. */
  struct pollfd state = {.fd = socket};
  int ready;
  do
    ready = poll(&state, 1, 0);
  while (ready < 0 && errno == EINTR);
  if (ready < 0)
    return -errno;
  if (state.revents & POLLNVAL)
    return -EBADF;
  return (state.revents & POLLHUP) != 0;
#else
  /* Here poll(2) reports the end of one direction in the same way. But a socket with both directions ended has no peer
   * name any more. */
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  if (getpeername(socket, (struct sockaddr *)&address, &length) == 0)
    return 0;
  return errno == ENOTCONN || errno == EINVAL ? 1 : -errno;
#endif
}
