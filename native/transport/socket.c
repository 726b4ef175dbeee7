/* What can be told of an AF_UNIX socket, whatever carries the descriptors. */
#include "control.h"

#ifndef FDP_SYSV

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_DONTWAIT
#define MSG_DONTWAIT 0 /* the socket itself is non-blocking there: see bsd43.c */
#endif

static int type_of(int socket) {
  int type;
  socklen_t length = sizeof type;
  return getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &length) ? -errno : type;
}

int fdp_socket_type(int socket) {
  int domain = fdp_domain(socket);
  if (domain < 0)
    return domain;
  int type = type_of(socket);
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

/* Whether a packet is there, or none can be told: 1, 0 or a negative errno. One without bytes looks like the end; but
 * where credentials are asked for, each has some. */
static int has_packet(int socket) {
#if defined(FDP_BSD44) && defined(SO_PASSCRED)
  /* Whoever shares the socket may turn that off in between. */
  enum { TIMES = 16 };
  int on = 1, off = 0, found = 0;
  for (int i = 0; i < TIMES && !found; i++) {
    char byte;
    struct iovec part = {&byte, 1}; /* qemu-user makes no system call without one */
    struct cmsghdr beginning;       /* no room for a descriptor */
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    header.msg_control = &beginning;
    header.msg_controllen = sizeof beginning;
    if (setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on))
      return 0;
    ssize_t length = fdp_recvmsg(socket, &header, MSG_PEEK);
    if (length < 0)
      found = length == -EAGAIN ? 0 : (int)length;
    else
      found = header.msg_controllen > 0 || header.msg_flags & MSG_CTRUNC;
  }
  setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &off, sizeof off);
  return found < 0 ? found : found > 0;
#else
  (void)socket;
  return 0;
#endif
}

int fdp_has_ended(int socket) {
  if (type_of(socket) == SOCK_STREAM)
    return 1;
  int shut = fdp_is_shut(socket);
  if (shut <= 0)
    return shut;
  int packet = has_packet(socket);
  return packet < 0 ? packet : !packet;
}

int fdp_nothing(int socket) {
  int ended = type_of(socket) == SOCK_DGRAM ? fdp_has_ended(socket) : 0;
  return ended > 0 ? 0 : ended < 0 ? ended : -EAGAIN;
}

int fdp_hung_up(int socket) {
#ifdef __linux__
  /* Told only when both directions are over. */
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
  /* poll(2) tells the end of one direction alike there, but such a socket has no peer any more. */
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  if (getpeername(socket, (struct sockaddr *)&address, &length) == 0)
    return 0;
  return errno == ENOTCONN || errno == EINVAL ? 1 : -errno;
#endif
}

#if !FDP_PEEK

/* Bytes alone can be peeked at everywhere: without room for control nothing is installed. */
static ssize_t peek(int socket, struct msghdr *header) {
  ssize_t length;
  do
    length = recvmsg(socket, header, MSG_PEEK | MSG_DONTWAIT);
  while (length < 0 && errno == EINTR);
  return length < 0 ? -errno : length;
}

int fdp_pending(int socket) {
  char byte;
  struct iovec part = {&byte, 1};
  struct msghdr header = {0};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ssize_t length = peek(socket, &header);
  if (length)
    return length == -EAGAIN ? fdp_nothing(socket) : length < 0 ? (int)length : 1;
  int ended = fdp_has_ended(socket);
  return ended < 0 ? ended : !ended;
}

int fdp_look(int socket, uint8_t *bytes, uint32_t stride) {
  /* A packet that needs the byte behind its room does not fit. Older interfaces have no flag to say so. */
  char behind;
  struct iovec part[] = {{bytes, stride}, {&behind, 1}};
  struct msghdr header = {0};
  header.msg_iov = part;
  header.msg_iovlen = 2;
  ssize_t length = peek(socket, &header);
  if (length < 0)
    return (int)length;
  if (length > (ssize_t)stride && type_of(socket) != SOCK_STREAM)
    return -EMSGSIZE;
  /* Descriptors may come without bytes in a packet, also before the end: only taking it tells. */
  return length > 0 || type_of(socket) != SOCK_STREAM;
}

#endif
#endif
