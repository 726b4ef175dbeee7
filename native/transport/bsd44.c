/*
 * The 4.4BSD interface: descriptors travel as SCM_RIGHTS ancillary data (unix(7), cmsg(3)).
 *
 * On Linux receiving peeks first and consumes after. A plain recvmsg into a full table succeeds and destroys what did
 * not fit, and a slot reserved beforehand can be taken by another thread in between. A peek installs duplicates and
 * leaves the message queued, so a truncated one is simply given back; consuming needs no slot at all.
 *
 * The second half of this file is for systems that cannot do that.
 */
#include "transport.h"

#ifdef FDP_BSD44

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

/* The most descriptors that a message may bring: what the system passes, which may be more than is sent from here. */
#if defined(__linux__)
enum { MOST = FDP_MAX_FDS };
#elif defined(__sun)
enum { MOST = 2048 };
#else
enum { MOST = 256 };
#endif

enum {
  /* Room beside the descriptors for what SO_PASSCRED, SO_PASSSEC and SO_PASSPIDFD add, should someone have set them. */
  OTHER_CONTROL = 512,
  CONTROL = CMSG_SPACE(MOST * sizeof(int)) + OTHER_CONTROL
};

union control {
  struct cmsghdr align;
  char bytes[CONTROL];
};

static_assert(sizeof(int) == sizeof(int32_t), "a batch's descriptors are copied as ints");

/* What one received message brought, apart from its bytes. */
struct catch {
  int32_t count; /* descriptors */
  int control;   /* any control message at all */
  int consumed;  /* its bytes had control messages with them when they were taken */
};

/* Copies the descriptors of a message to `fd`; they are open and the caller's. Closes what nobody asked for. */
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
    }
#ifdef __linux__
    else if (c->cmsg_type == SCM_PIDFD) {
      int pidfd;
      memcpy(&pidfd, CMSG_DATA(c), sizeof pidfd);
      if (pidfd >= 0)
        close(pidfd);
    }
#endif
  }
  return got;
}

static void choose_what_comes(int socket) {
  /* A byte out of band would make the socket readable and give nothing to read, for ever. In line it is like any other.
   */
  int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
#ifdef __linux__
  /* Credentials beside every message would hide whether there were descriptors. Kernels differ in which they know. */
  int off = 0;
  setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &off, sizeof off);
  setsockopt(socket, SOL_SOCKET, SO_PASSSEC, &off, sizeof off);
  setsockopt(socket, SOL_SOCKET, SO_PASSPIDFD, &off, sizeof off);
#endif
}

#if FDP_PEEK

/* Set once the system turns out to have no peek offset. Each peek then begins at the first message, so a receive takes
 * one. */
static atomic_int no_offset;

static int set_peek_offset(int socket, int offset) {
  int status;
  do
    status = setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
  while (status && errno == EINTR);
  return status ? -errno : 0;
}

/* A stream's peek offset moves with every peek; where not all that was peeked is consumed it must go back. */
static int rewind_peek(int socket) {
  int offset;
  socklen_t length = sizeof offset;
  if (getsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, &length))
    return errno == ENOPROTOOPT && atomic_load(&no_offset) ? 0 : -errno;
  return offset <= 0 ? 0 : set_peek_offset(socket, 0);
}

int fdp_attach(int socket) {
  /* With an offset one call peeks at many messages of a stream. Packet sockets then skip a message without bytes that
   * was peeked once (__skb_try_recv_from_queue), so theirs is off. */
  int type = fdp_socket_type(socket);
  int offset = type == FDP_STREAM ? 0 : -1;
  if (type < 0)
    return type;
  choose_what_comes(socket);
  int error = set_peek_offset(socket, offset);
  if (error != -ENOPROTOOPT)
    return error;
  /* qemu-user has no such option. An offset that was set outside of it cannot be undone. */
  atomic_store(&no_offset, 1);
  return rewind_peek(socket);
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
      memset(rights, 0, sizeof *rights); /* musl's has padding where the kernel reads the upper half of a length */
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = (socklen_t)CMSG_LEN(length);
      memcpy(CMSG_DATA(rights), fd, length);
      header[i].msg_hdr.msg_control = rights;
      header[i].msg_hdr.msg_controllen = (socklen_t)CMSG_LEN(length);
    }
    bytes += batch->size[i];
    fd += batch->count[i];
  }

  do
#ifdef __GLIBC__
    sent = sendmmsg(socket, header, (unsigned)messages, MSG_DONTWAIT | MSG_NOSIGNAL);
#else /* musl's own says ENOMEM for more than 1024 bytes of control, which 253 descriptors need */
    sent = (int)syscall(SYS_sendmmsg, socket, header, (unsigned)messages, MSG_DONTWAIT | MSG_NOSIGNAL);
#endif
  while (sent < 0 && errno == EINTR);
  if (sent < 0)
    return -errno;
  batch->tail = (int32_t)header[sent - 1].msg_len;
  return sent;
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

/* What was only peeked at is still in the queue, so none of these closes is the last, which alone may wait. */
static void close_peeked(const int32_t *fd, int32_t count) {
  for (int32_t i = 0; i < count; i++)
    close(fd[i]);
}

int fdp_receive(int socket, uint8_t *bytes, const struct fdp_demand *demand, struct fdp_batch *batch) {
  struct mmsghdr header[FDP_MAX_MESSAGES];
  struct iovec part[FDP_MAX_MESSAGES];
  struct catch caught[FDP_MAX_MESSAGES];
  union control control[FDP_MAX_MESSAGES];
  int one = atomic_load(&no_offset), messages = one ? 1 : demand->messages;
  int peeked, keep = 0, stop = 0, ended, error = 0, result;
  int32_t kept = 0, open = 0;

  memset(header, 0, (size_t)messages * sizeof *header);
  for (int i = 0; i < messages; i++) {
    part[i].iov_base = bytes + (size_t)i * demand->stride;
    part[i].iov_len = demand->stride;
    header[i].msg_hdr.msg_iov = &part[i];
    header[i].msg_hdr.msg_iovlen = 1;
    header[i].msg_hdr.msg_control = &control[i];
    header[i].msg_hdr.msg_controllen =
        (socklen_t)(i > 0                                ? CMSG_LEN((size_t)demand->expected * sizeof(int))
                    : demand->room < FDP_MAX_FDS && !one ? CMSG_LEN((size_t)demand->room * sizeof(int))
                                                         : sizeof control[i]);
  }
  do
    peeked = recvmmsg(socket, header, (unsigned)messages, MSG_PEEK | MSG_CMSG_CLOEXEC | MSG_DONTWAIT, NULL);
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
    /* Where there is no offset the room is kept to by counting: qemu-user cuts off without a word. */
    if (message->msg_flags & MSG_CTRUNC || (i == 0 && caught[i].count > demand->room)) {
      stop = 1;
      continue;
    }
    if (message->msg_flags & MSG_TRUNC) {
      stop = 1;
      result = -EMSGSIZE;
      continue;
    }
    if (header[i].msg_len == 0 && !caught[i].control && (ended = fdp_has_ended(socket))) {
      stop = 1;
      result = ended < 0 ? ended : 0;
      continue;
    }
    batch->size[i] = (int32_t)header[i].msg_len;
    batch->count[i] = caught[i].count;
    kept = open;
    keep = i + 1;
    /* What fills its room may go on: its rest is peeked as the next message, with the same descriptors once more. */
    stop = kept >= demand->descriptors || header[i].msg_len >= demand->stride;
  }
  /* The kernel moves the offset back by what is consumed, so this can come first, while nothing is lost by failing. */
  if (keep < peeked)
    error = rewind_peek(socket);
  if (error) {
    result = error;
    kept = 0;
  } else if (keep > 0) {
    result = consume(socket, batch, keep, part, caught);
    /* A peek whose bytes fill their room goes on to the message behind them, without room for its bytes, and shows its
     * descriptors (unix_stream_read_generic in Linux's net/unix/af_unix.c). Consuming does not go there, and says so by
     * truncating nothing. They come again with their own bytes. */
    if (result == keep && batch->count[keep - 1] > 0 && !caught[keep - 1].consumed) {
      kept -= batch->count[keep - 1];
      batch->count[keep - 1] = 0;
    }
    /* Without going back, the next peek would show what is behind the next to be consumed. */
    if (result < keep && (error = rewind_peek(socket)))
      result = result > 0 ? -EIO : error;
    if (result < keep) {
      kept = 0;
      for (int i = 0; i < result; i++)
        kept += batch->count[i];
    }
  }
  close_peeked(batch->fd + kept, open - kept);
  return result;
}

int fdp_pending(int socket) {
  char byte;
  ssize_t length;
  do
    length = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  while (length < 0 && errno == EINTR);
  if (length < 0)
    return -errno;
  int error = rewind_peek(socket);
  if (error || length > 0)
    return error ? error : 1;
  int ended = fdp_has_ended(socket);
  return ended < 0 ? ended : !ended;
}

#else

const int fdp_most = MOST;

/* macOS cannot set close-on-exec while it receives. */
#ifdef MSG_CMSG_CLOEXEC
enum { RECEIVE = MSG_CMSG_CLOEXEC | MSG_DONTWAIT };
static void close_all_on_exec(const int32_t *fd, int32_t count) {
  (void)fd;
  (void)count;
}
#else
enum { RECEIVE = MSG_DONTWAIT };
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
  choose_what_comes(socket);
#ifdef SO_PEEK_OFF
  int off = -1;
  setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off); /* bytes are peeked at from the beginning */
#endif
#ifdef SO_NOSIGPIPE
  int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
  return 0;
}

/* What the errno of a failed send means. */
static int send_error(int socket, int error) {
  (void)socket;
#ifdef __APPLE__
  if (error == EPROTOTYPE) /* the peer went just now */
    return -ECONNRESET;
  /* The room for control shrinks as the peer's buffer fills, and is there again later. */
  if (error == EMSGSIZE && fdp_socket_type(socket) == FDP_STREAM)
    return -ENOBUFS;
#endif
#ifndef __linux__
  if (error == ETOOMANYREFS) /* as with ENOBUFS, only time helps */
    return -ENOBUFS;
#endif
  return -error;
}

ssize_t fdp_put(int socket, const uint8_t *bytes, size_t size, const int32_t *fd, int count) {
  struct iovec part = {(void *)(uintptr_t)bytes, size};
  struct msghdr header = {0};
  union control control;
  ssize_t length;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (count > 0) {
    size_t room = (size_t)count * sizeof(int);
    memset(&control, 0, CMSG_SPACE(room));
    control.align.cmsg_level = SOL_SOCKET;
    control.align.cmsg_type = SCM_RIGHTS;
    control.align.cmsg_len = (socklen_t)CMSG_LEN(room);
    memcpy(CMSG_DATA(&control.align), fd, room);
    header.msg_control = &control;
    header.msg_controllen = (socklen_t)CMSG_LEN(room); /* macOS refuses any other length than cmsg_len */
  }
  do
#if defined(__linux__) && !defined(__GLIBC__)
    length = syscall(SYS_sendmsg, socket, &header, SEND); /* as above, for musl */
#else
    length = sendmsg(socket, &header, SEND);
#endif
  while (length < 0 && errno == EINTR);
  return length < 0 ? send_error(socket, errno) : length;
}

int fdp_take(int socket, uint8_t *bytes, uint32_t stride, int32_t *size, int32_t *fd, int32_t *count) {
  struct iovec part = {bytes, stride};
  struct msghdr header = {0};
  union control control;
  ssize_t length;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = &control;
  header.msg_controllen = sizeof control;
  do
    length = recvmsg(socket, &header, RECEIVE);
  while (length < 0 && errno == EINTR);
  /* These come when the table has no room, after the descriptors were destroyed. */
  if (length < 0)
    return errno == EMSGSIZE || errno == EMFILE ? -EIO : -errno;
  struct catch got = unpack(&header, fd);
  if (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) {
    fdp_close_all(fd, got.count);
    return -EIO;
  }
  int ended = length == 0 && !got.control ? fdp_has_ended(socket) : 0;
  if (ended)
    return ended < 0 ? ended : 0;
  close_all_on_exec(fd, got.count);
  *size = (int32_t)length;
  *count = got.count;
  return 1;
}

#endif
#endif
