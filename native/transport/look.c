/* Says what a receive would find, on systems where a peek shows bytes but no descriptors. */
#include "transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_DONTWAIT
#define MSG_DONTWAIT 0 /* the socket itself is non-blocking on such a system: see accrights.c */
#endif

/* Peeks at bytes alone, which every system can do. Without room for control no descriptors are installed. */
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
  /* A packet that needs the byte after the room is too long. Older interfaces have no flag to tell that. */
  char behind;
  struct iovec part[] = {{bytes, stride}, {&behind, 1}};
  struct msghdr header = {0};
  header.msg_iov = part;
  header.msg_iovlen = 2;
  ssize_t length = peek(socket, &header);
  if (length < 0)
    return (int)length;
  if (length > (ssize_t)stride && fdp_type_of(socket) != SOCK_STREAM)
    return -EMSGSIZE;
  /* A packet may bring descriptors and no bytes, even before the end. Only a receive can tell. */
  return length > 0 || fdp_type_of(socket) != SOCK_STREAM;
}
