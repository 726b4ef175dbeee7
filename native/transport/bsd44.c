/*
 * The 4.4BSD interface: descriptors travel as SCM_RIGHTS ancillary data (unix(7), cmsg(3)).
 *
 * Receiving peeks first and consumes after. A plain recvmsg into a full table succeeds and destroys what did not fit,
 * and a slot reserved beforehand can be taken by another thread in between. A peek installs duplicates and leaves the
 * message queued, so a truncated one is simply given back; consuming needs no slot at all.
 */
#include "../fdpasser.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

enum {
  /* Room beside the descriptors for what SO_PASSCRED, SO_PASSSEC and SO_PASSPIDFD add, should someone have set them. */
  OTHER_CONTROL = 512,
  CONTROL = CMSG_SPACE(FDP_MAX_FDS * sizeof(int)) + OTHER_CONTROL
};

union control {
  struct cmsghdr align;
  char bytes[CONTROL];
};

static_assert(sizeof(int) == sizeof(int32_t), "a batch's descriptors are copied as ints");

static int option(int socket, int name, int *value) {
  socklen_t length = sizeof *value;
  return getsockopt(socket, SOL_SOCKET, name, value, &length) ? -errno : 0;
}

int fdp_socket_type(int socket) {
  int domain, type, listening, error;
  if ((error = option(socket, SO_DOMAIN, &domain)) || (error = option(socket, SO_TYPE, &type)) ||
      (error = option(socket, SO_ACCEPTCONN, &listening)))
    return error;
  if (domain != AF_UNIX)
    return -EAFNOSUPPORT;
  if (listening)
    return -EINVAL;
  return type == SOCK_STREAM ? FDP_STREAM : type == SOCK_SEQPACKET ? FDP_SEQPACKET : FDP_DGRAM;
}

int fdp_attach(int socket) {
  /* With an offset one call peeks at many messages of a stream. Packet sockets then skip a message without bytes that
   * was peeked once (__skb_try_recv_from_queue), so theirs is off. */
  int type = fdp_socket_type(socket);
  int offset = type == FDP_STREAM ? 0 : -1;
  if (type < 0)
    return type;
  /* Credentials beside every message would hide whether there were descriptors. Kernels differ in which they know. */
  int off = 0;
  setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &off, sizeof off);
  setsockopt(socket, SOL_SOCKET, SO_PASSSEC, &off, sizeof off);
  setsockopt(socket, SOL_SOCKET, SO_PASSPIDFD, &off, sizeof off);
  /* A byte out of band would make the socket readable and give nothing to read, for ever. In line it is like any other.
   */
  int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  return setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) ? -errno : 0;
}

int fdp_send(int socket, const uint8_t *bytes, struct fdp_batch *batch, int messages) {
  struct mmsghdr header[FDP_MAX_MESSAGES];
  struct iovec part[FDP_MAX_MESSAGES];
  union control control[FDP_MAX_MESSAGES];
  const int32_t *fd = batch->fd;
  int sent;

  memset(header, 0, (size_t)messages * sizeof *header);
  for (int i = 0; i < messages; i++) {
    size_t length = (size_t)batch->count[i] * sizeof(int);
    part[i].iov_base = (void *)(uintptr_t)bytes;
    part[i].iov_len = (size_t)batch->size[i];
    header[i].msg_hdr.msg_iov = &part[i];
    header[i].msg_hdr.msg_iovlen = 1;
    if (length) {
      struct cmsghdr *rights = &control[i].align;
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(length);
      memcpy(CMSG_DATA(rights), fd, length);
      header[i].msg_hdr.msg_control = rights;
      header[i].msg_hdr.msg_controllen = CMSG_SPACE(length);
    }
    bytes += batch->size[i];
    fd += batch->count[i];
  }

  do
    sent = sendmmsg(socket, header, (unsigned)messages, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0)
    return -errno;
  batch->tail = (int32_t)header[sent - 1].msg_len;
  return sent;
}

/* What one peeked message brought, apart from its bytes. */
struct catch {
  int32_t count; /* descriptors */
  int control;   /* any control message at all */
  int consumed;  /* its bytes had control messages with them when they were taken */
};

/* Copies the descriptors of a peeked message to `fd`; they are open and the caller's. Closes what nobody asked for. */
static struct catch unpack(struct msghdr *message, int32_t *fd) {
  struct catch got = {0, 0, 0};
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    got.control = 1;
    if (c->cmsg_level != SOL_SOCKET)
      continue;
    if (c->cmsg_type == SCM_RIGHTS) {
      size_t length = c->cmsg_len - CMSG_LEN(0);
      memcpy(fd + got.count, CMSG_DATA(c), length);
      got.count += (int32_t)(length / sizeof(int));
    } else if (c->cmsg_type == SCM_PIDFD) {
      int pidfd;
      memcpy(&pidfd, CMSG_DATA(c), sizeof pidfd);
      if (pidfd >= 0)
        close(pidfd);
    }
  }
  return got;
}

static void close_range_of(const int32_t *fd, int32_t count) {
  for (int32_t i = 0; i < count; i++)
    close(fd[i]);
}

/* A stream's peek offset moves with every peek; after one whose messages were not all consumed it must go back. */
static void rewind_peek(int socket) {
  int offset;
  if (option(socket, SO_PEEK_OFF, &offset) == 0 && offset > 0) {
    offset = 0;
    setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
  }
}

/* Whether a packet is there. One without bytes looks like the end; but where credentials are asked for, each has some.
 */
static int has_packet(int socket) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct ucred))];
  } control;
  struct msghdr header = {.msg_control = &control, .msg_controllen = sizeof control};
  int on = 1, off = 0;
  ssize_t length;
  setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  do
    length = recvmsg(socket, &header, MSG_PEEK | MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  while (length < 0 && errno == EINTR);
  setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &off, sizeof off);
  return length >= 0 && header.msg_controllen > 0;
}

/* Whether nothing is left to read, of a socket that has just given nothing. */
static int has_ended(int socket) {
  struct pollfd state = {.fd = socket, .events = POLLRDHUP};
  return poll(&state, 1, 0) == 1 && (state.revents & (POLLRDHUP | POLLHUP)) &&
         (fdp_socket_type(socket) == FDP_STREAM || !has_packet(socket));
}

/* Takes the first `messages` off the queue, without control: no slot is needed and no reference leaks. Returns how many
 * it took, or a negative errno when none. */
static int consume(int socket, const struct fdp_batch *batch, int messages, struct iovec *part, struct catch *caught) {
  struct mmsghdr header[FDP_MAX_MESSAGES];
  int taken;

  memset(header, 0, (size_t)messages * sizeof *header);
  for (int i = 0; i < messages; i++) {
    part[i].iov_len = (size_t)batch->size[i];
    header[i].msg_hdr.msg_iov = &part[i];
    header[i].msg_hdr.msg_iovlen = 1;
  }
  do
    taken = recvmmsg(socket, header, (unsigned)messages, MSG_DONTWAIT, NULL);
  while (taken < 0 && errno == EINTR);
  if (taken < 0)
    return -errno;
  /* The kernel copies a message's descriptors to peek at them; without memory for that it shows none. And a second
   * reader may have taken what was peeked here. */
  for (int i = 0; i < taken; i++) {
    caught[i].consumed = (header[i].msg_hdr.msg_flags & MSG_CTRUNC) != 0;
    if ((caught[i].consumed && !caught[i].control) || header[i].msg_len != (unsigned)batch->size[i])
      return -EIO;
  }
  return taken;
}

int fdp_receive(int socket, uint8_t *bytes, const struct fdp_demand *demand, struct fdp_batch *batch) {
  struct mmsghdr header[FDP_MAX_MESSAGES];
  struct iovec part[FDP_MAX_MESSAGES];
  struct catch caught[FDP_MAX_MESSAGES];
  union control control[FDP_MAX_MESSAGES];
  int peeked, keep = 0, stop = 0, result;
  int32_t kept = 0, open = 0;

  memset(header, 0, (size_t)demand->messages * sizeof *header);
  for (int i = 0; i < demand->messages; i++) {
    part[i].iov_base = bytes + (size_t)i * demand->stride;
    part[i].iov_len = demand->stride;
    header[i].msg_hdr.msg_iov = &part[i];
    header[i].msg_hdr.msg_iovlen = 1;
    header[i].msg_hdr.msg_control = &control[i];
    header[i].msg_hdr.msg_controllen = i == 0 ? sizeof control[i] : CMSG_LEN((size_t)demand->expected * sizeof(int));
  }
  do
    peeked = recvmmsg(socket, header, (unsigned)demand->messages, MSG_PEEK | MSG_CMSG_CLOEXEC | MSG_DONTWAIT, NULL);
  while (peeked < 0 && errno == EINTR);
  if (peeked < 0)
    return -errno;

  result = -EMFILE;
  for (int i = 0; i < peeked; i++) {
    struct msghdr *message = &header[i].msg_hdr;
    caught[i] = unpack(message, batch->fd + open);
    open += caught[i].count;
    if (stop)
      continue;
    if (message->msg_flags & MSG_CTRUNC) {
      stop = 1;
      continue;
    }
    if (message->msg_flags & MSG_TRUNC) {
      stop = 1;
      result = -EMSGSIZE;
      continue;
    }
    if (header[i].msg_len == 0 && !caught[i].control && has_ended(socket)) {
      stop = 1;
      result = 0;
      continue;
    }
    batch->size[i] = (int32_t)header[i].msg_len;
    batch->count[i] = caught[i].count;
    kept = open;
    keep = i + 1;
    /* What fills its room may go on: its rest is peeked as the next message, with the same descriptors once more. */
    stop = kept >= demand->descriptors || header[i].msg_len >= demand->stride;
  }
  if (keep > 0) {
    result = consume(socket, batch, keep, part, caught);
    /* A peek whose bytes fill their room goes on to the message behind them, without room for its bytes, and shows its
     * descriptors (unix_stream_read_generic in Linux's net/unix/af_unix.c). Consuming does not go there, and says so by
     * truncating nothing. They come again with their own bytes. */
    if (result == keep && batch->count[keep - 1] > 0 && !caught[keep - 1].consumed) {
      kept -= batch->count[keep - 1];
      batch->count[keep - 1] = 0;
    }
    if (result < keep) {
      kept = 0;
      for (int i = 0; i < result; i++)
        kept += batch->count[i];
    }
  }
  close_range_of(batch->fd + kept, open - kept);
  if (result < peeked)
    rewind_peek(socket);
  return result;
}

int fdp_end_sending(int socket) { return shutdown(socket, SHUT_WR) ? -errno : 0; }

int fdp_pending(int socket) {
  char byte;
  ssize_t length;
  do
    length = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  while (length < 0 && errno == EINTR);
  if (length < 0)
    return -errno;
  rewind_peek(socket);
  return length > 0 || !has_ended(socket);
}
