/*
 * SCM_RIGHTS on Linux, where a receive peeks first and consumes after. A plain recvmsg into a full table succeeds, and
 * destroys the descriptors that did not fit. A slot reserved beforehand can be taken by another thread in between. But
 * a peek installs duplicates and leaves the message in the queue. If they were truncated, they are simply closed again.
 * Consuming needs no slot at all.
 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>
#ifndef __GLIBC__
#include <sys/syscall.h>
#endif

/* ---- many messages a call, or one -------------------------------------------------------------------------------- */

/*
 * Set when one call cannot carry many messages in the way of Linux. Emulators and gVisor have no peek offset, and
 * gVisor's sendmmsg goes on after a message was sent in part. A sandbox may also refuse those calls.
 */
static atomic_int singly;

/* musl's own functions return ENOMEM for more than 1024 bytes of control, but 253 descriptors need more. */
#ifdef __GLIBC__
#define send_many sendmmsg
#define send_one sendmsg
#else
#define send_many(...) (int)syscall(SYS_sendmmsg, __VA_ARGS__)
#define send_one(...) syscall(SYS_sendmsg, __VA_ARGS__)
#endif

/* Whether the call that has just failed is refused by a sandbox to everyone: then it fails even for a descriptor that
 * is not open. */
static int is_refused(int sends) {
  int error = errno;
  if (error != ENOSYS && error != EPERM && error != EACCES)
    return 0;
  struct mmsghdr none = {0};
  int refused = (sends ? send_many(-1, &none, 0, 0) : recvmmsg(-1, &none, 0, 0, NULL)) < 0 && errno != EBADF;
  errno = error;
  if (refused)
    atomic_store(&singly, 1);
  return refused;
}

enum { SEND = MSG_DONTWAIT | MSG_NOSIGNAL };

static int send_each(int socket, struct mmsghdr *header, int messages) {
  for (int i = 0; i < messages; i++) {
    ssize_t length;
    do
      length = send_one(socket, &header[i].msg_hdr, SEND);
    while (length < 0 && errno == EINTR);
    if (length < 0)
      return i > 0 ? i : -1;
    header[i].msg_len = (unsigned)length;
    if ((size_t)length < header[i].msg_hdr.msg_iov->iov_len)
      return i + 1;
  }
  return messages;
}

static int send_all(int socket, struct mmsghdr *header, int messages) {
  int sent;
  if (atomic_load(&singly))
    return send_each(socket, header, messages);
  do
    sent = send_many(socket, header, (unsigned)messages, SEND);
  while (sent < 0 && errno == EINTR);
  return sent < 0 && is_refused(1) ? send_each(socket, header, messages) : sent;
}

static int receive_one(int socket, struct mmsghdr *header, int flags) {
  ssize_t length;
  do
    length = recvmsg(socket, &header->msg_hdr, flags | MSG_DONTWAIT);
  while (length < 0 && errno == EINTR);
  header->msg_len = (unsigned)length;
  return length < 0 ? -1 : 1;
}

static int receive_all(int socket, struct mmsghdr *header, int messages, int flags) {
  int received;
  if (atomic_load(&singly))
    return receive_one(socket, header, flags);
  do
    received = recvmmsg(socket, header, (unsigned)messages, flags | MSG_DONTWAIT, NULL);
  while (received < 0 && errno == EINTR);
  /* gVisor's recvmmsg cannot peek, and returns EINVAL. So do both recvmmsg and recvmsg on a socket that is not
   * connected. */
  int may_do_alone = received < 0 && ((errno == EINVAL && flags & MSG_PEEK) || is_refused(0));
  return may_do_alone ? receive_one(socket, header, flags) : received;
}

ssize_t fdp_recvmsg(int socket, struct msghdr *message, int flags) {
  struct mmsghdr header = {.msg_hdr = *message};
  int received = receive_all(socket, &header, 1, flags);
  *message = header.msg_hdr;
  return received < 0 ? -errno : (ssize_t)header.msg_len;
}

/* ---- attaching --------------------------------------------------------------------------------------------------- */

enum { OFFSET_WAS_ON = 1 << 16 };

static int set_peek_offset(int socket, int offset) {
  int status;
  do
    status = setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
  while (status && errno == EINTR);
  return status ? -errno : 0;
}

/* Returns the peek offset, or -1 if it is off or unknown to the system, or -ERANGE for any other error, which errno
 * tells. */
static int peek_offset(int socket) {
  int offset;
  socklen_t length = sizeof offset;
  if (!getsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, &length))
    return offset < 0 ? -1 : offset;
  return errno == ENOPROTOOPT ? -1 : -ERANGE;
}

/* Puts a stream's peek offset back to the first message. Every peek moves it, so this is needed if not all that was
 * peeked at is consumed. */
static int rewind_peek(int socket) {
  int offset = peek_offset(socket);
  return offset == -ERANGE ? -errno : offset <= 0 ? 0 : set_peek_offset(socket, 0);
}

int fdp_attach(int socket) {
  /* With a peek offset one call peeks at many messages of a stream. On packet sockets Linux then skips a message
   * without bytes that was peeked at once (__skb_try_recv_from_queue), so they have it off. */
  static atomic_int tried;
  int type = fdp_socket_type(socket), error;
  if (type < 0)
    return type;
  int before = peek_offset(socket) >= 0 ? OFFSET_WAS_ON : 0;
  if (type == FDP_STREAM || !atomic_load(&tried)) {
    /* qemu-user does not have this option. gVisor accepts it, without effect. */
    if (!(error = set_peek_offset(socket, 0)))
      error = peek_offset(socket) == 0 ? 0 : -ENOPROTOOPT;
    if (error == -ENOPROTOOPT) {
      atomic_store(&singly, 1);
      set_peek_offset(socket, -1); /* an offset that cannot be read must not move either */
    } else if (error)
      return error;
    atomic_store(&tried, 1);
  }
  if (type != FDP_STREAM && (error = set_peek_offset(socket, -1)) && error != -ENOPROTOOPT)
    return error;
  return fdp_set_options(socket) | before;
}

void fdp_detach(int socket, int changed) {
  set_peek_offset(socket, changed & OFFSET_WAS_ON ? 0 : -1);
  fdp_put_back_options(socket, changed);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* A message of so many bytes is never sent in part, even with the smallest buffer (unix_stream_sendmsg). */
enum { WHOLE = 2048 };

/* Whether a call stops at a message that it has sent in part. Before Linux 4.9 it went on (__sys_sendmmsg), and so do
 * some that call themselves Linux, which send each message by itself. */
static int stops_at_a_part(void) {
  static atomic_int known; /* 1: it does; -1: it does not */
  struct utsname name;
  int major, minor, stops = atomic_load_explicit(&known, memory_order_relaxed);
  if (stops == 0) {
    int is_known = uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2;
    stops = is_known && (major > 4 || (major == 4 && minor >= 9)) ? 1 : -1;
    atomic_store_explicit(&known, stops, memory_order_relaxed);
  }
  return stops > 0;
}

int fdp_send(int socket, const uint8_t *bytes, struct fdp_batch *batch, int messages) {
  struct mmsghdr header[FDP_MAX_MESSAGES];
  struct iovec part[FDP_MAX_MESSAGES];
  union fdp_rights control[FDP_MAX_MESSAGES];
  const int32_t *fd = batch->fd;

  memset(header, 0, (size_t)messages * sizeof *header);
  for (int i = 0; i < messages; i++) {
    if (batch->size[i] > WHOLE && !stops_at_a_part())
      messages = i + 1;
    part[i].iov_base = (void *)(uintptr_t)bytes;
    part[i].iov_len = (size_t)batch->size[i];
    header[i].msg_hdr.msg_iov = &part[i];
    header[i].msg_hdr.msg_iovlen = 1;
    fdp_pack(&header[i].msg_hdr, &control[i], fd, batch->count[i]);
    bytes += batch->size[i];
    fd += batch->count[i];
  }
  int sent = send_all(socket, header, messages);
  if (sent < 0)
    return -errno;
  batch->tail = (int32_t)header[sent - 1].msg_len;
  return sent;
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* The memory of one receive. */
struct reception {
  struct mmsghdr header[FDP_MAX_MESSAGES];
  struct iovec part[FDP_MAX_MESSAGES];
  int32_t count[FDP_MAX_MESSAGES]; /* descriptors that a peek showed */
  /* For the first message that is peeked at, and the last one that is consumed. An array of bytes, because the union's
   * type may end in an array without a size. */
  _Alignas(union fdp_control) char first[sizeof(union fdp_control)];
  union fdp_rights control[FDP_MAX_MESSAGES];
};

static void set_control(struct mmsghdr *header, void *control, size_t room) {
  header->msg_hdr.msg_control = control;
  header->msg_hdr.msg_controllen = (socklen_t)room;
}

/* Peeks at messages. The room for control messages limits the descriptors of each. If something else comes into that
 * room, the message looks too large for it. Such a message becomes the first one of a later call, which has room for
 * everything. */
static int peek(int socket, struct reception *r, uint8_t *bytes, const struct fdp_demand *demand, int whole) {
  int messages = atomic_load(&singly) ? 1 : demand->messages;
  memset(r->header, 0, (size_t)messages * sizeof *r->header);
  for (int i = 0; i < messages; i++) {
    r->part[i] = (struct iovec){bytes + (size_t)i * demand->stride, demand->stride};
    r->header[i].msg_hdr.msg_iov = &r->part[i];
    r->header[i].msg_hdr.msg_iovlen = 1;
    set_control(&r->header[i], &r->control[i], CMSG_LEN((size_t)demand->expected * sizeof(int)));
  }
  set_control(r->header, &r->first, whole ? sizeof r->first : CMSG_LEN((size_t)demand->room * sizeof(int)));
  return receive_all(socket, r->header, messages, MSG_PEEK | MSG_CMSG_CLOEXEC);
}

/* What consuming has brought so far. */
struct intake {
  /* Where the next byte belongs: to which of the messages that were peeked at, and where in it. */
  int message;
  size_t within;
  int own;  /* whether descriptors came with the last message that is to be consumed */
  int lost; /* whether anything is lost */
};

/* Moves bytes to where the peek has shown them. If it has shown others there, they are lost. */
static void put(const struct reception *r, struct intake *in, const uint8_t *from, size_t length) {
  while (length > 0) {
    const struct iovec *part = &r->part[in->message];
    size_t written = r->header[in->message].msg_len, piece = part->iov_len - in->within;
    uint8_t *to = (uint8_t *)part->iov_base + in->within;
    if (in->within < written && piece > written - in->within)
      piece = written - in->within;
    if (piece > length)
      piece = length;
    if (in->within < written) /* over bytes that were consumed and have been moved from here */
      memmove(to, from, piece);
    else if (memcmp(to, from, piece) != 0)
      in->lost = 1;
    from += piece;
    length -= piece;
    in->within += piece;
    if (in->within == part->iov_len) {
      in->message++;
      in->within = 0;
    }
  }
}

/* Looks at what came beside bytes that are in their place. It belongs to the message in which they end, because nothing
 * is joined with what stands behind descriptors. */
static void note(int socket, const struct reception *r, struct msghdr *message, int last, int has_room,
                 struct intake *in) {
  int of = in->within > 0 || in->message == 0 ? in->message : in->message - 1;
  int32_t fd[FDP_MAX_FDS];
  struct fdp_unpacked got = fdp_unpack(message, fd);
  if (got.count > 0 || (message->msg_flags & MSG_CTRUNC && (has_room || !got.others))) {
    in->own |= of == last;
    in->lost |= r->count[of] == 0;
  }
  fdp_close_lost(socket, fd, got.count);
}

/* Consumes the rest of the message in which the bytes end so far. */
static void consume_rest(int socket, struct reception *r, int last, struct intake *in) {
  uint8_t bytes[4096];
  while (in->within > 0 && !in->lost) {
    struct iovec part = {bytes, r->part[in->message].iov_len - in->within};
    struct mmsghdr header = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    if (part.iov_len > sizeof bytes)
      part.iov_len = sizeof bytes;
    set_control(&header, &r->first, sizeof r->first);
    if (receive_all(socket, &header, 1, MSG_CMSG_CLOEXEC) < 1 || header.msg_len == 0) {
      in->lost = 1;
      return;
    }
    put(r, in, bytes, header.msg_len);
    note(socket, r, &header.msg_hdr, last, 1, in);
  }
}

/*
 * Consumes the first `messages` messages. For those in which the peek has shown descriptors there is no room for
 * control: so no slot is needed, and no reference leaks. For those in which it has shown none there is room, so that
 * any that come are seen. The kernel copies a message's descriptors when it peeks, and shows none if it has no memory
 * for that.
 *
 * A peek whose bytes fill their room goes on to the message behind them, has no room for its bytes, and shows its
 * descriptors (unix_stream_read_generic in Linux's net/unix/af_unix.c). Consuming does not go on like that. Only the
 * last message can be such a one, so it is consumed with room for its descriptors. If none come, those that the peek
 * showed belong to the message behind and will come again: then `*behind` is set.
 *
 * While somebody asks for credentials, a stream does not join what was sent with them and without them. So a receive
 * may bring less than the peek, and the receives behind it begin too early. Then the bytes are moved to their place,
 * and the message in which they end is consumed to its end: so all its descriptors are consumed, and none of the next
 * message. If other bytes come than the peek has shown, a second reader has taken those.
 *
 * Returns how many messages it took, or a negative errno. -EIO: something is lost.
 */
static int consume(int socket, struct reception *r, const struct fdp_batch *batch, int messages, int filled,
                   int *behind) {
  int last = messages - 1;
  struct intake in = {0};
  memset(r->header, 0, (size_t)messages * sizeof *r->header);
  for (int i = 0; i < messages; i++) {
    r->part[i].iov_len = (size_t)batch->size[i];
    r->header[i].msg_hdr.msg_iov = &r->part[i];
    r->header[i].msg_hdr.msg_iovlen = 1;
    if (r->count[i] == 0)
      set_control(&r->header[i], &r->control[i], sizeof r->control[i]);
  }
  if (r->count[last] == 0 || filled)
    set_control(&r->header[last], &r->first, sizeof r->first);
  int taken = receive_all(socket, r->header, messages, MSG_CMSG_CLOEXEC);
  if (taken < 0)
    return -errno;
  for (int i = 0; i < taken; i++) {
    struct msghdr *message = &r->header[i].msg_hdr;
    size_t length = r->header[i].msg_len;
    if (in.message == i && length == r->part[i].iov_len)
      in.message++; /* it is in its place */
    else if (length > 0 && fdp_type_of(socket) == SOCK_STREAM)
      put(r, &in, message->msg_iov->iov_base, length);
    else
      in.lost = 1;
    in.lost |= message->msg_flags & MSG_TRUNC; /* a longer packet than the one that was peeked at */
    if (message->msg_control)
      note(socket, r, message, last, i == last, &in);
  }
  consume_rest(socket, r, last, &in);
  *behind = filled && r->count[last] > 0 && !in.own;
  return in.lost ? -EIO : in.message;
}

static int has_free_slots(int enough) {
  int found = 0;
  for (int fd = getdtablesize() - 1; fd >= 0 && found < enough; fd--)
    found += fcntl(fd, F_GETFD) < 0;
  return found >= enough;
}

/*
 * Whether a security module keeps a descriptor of the message from this process. The message then looks like one for
 * which there are too few slots, each time (receive_fd in Linux's fs/file.c); but here there are slots. It is asked
 * several times, because other threads may have freed slots since the first peek. They would have to do that each time.
 */
static int is_denied(int socket, struct reception *r, int32_t shown) {
  enum { TIMES = 8, SLOTS = 32 };
  for (int i = 0; i < TIMES; i++) {
    int32_t fd[FDP_MAX_FDS];
    if (!has_free_slots(SLOTS) || rewind_peek(socket))
      return 0;
    set_control(r->header, &r->first, sizeof r->first);
    if (receive_all(socket, r->header, 1, MSG_PEEK | MSG_CMSG_CLOEXEC) < 1)
      return 0;
    struct fdp_unpacked got = fdp_unpack(&r->header[0].msg_hdr, fd);
    fdp_close_peeked(socket, fd, got.count);
    if (got.count != shown || !(r->header[0].msg_hdr.msg_flags & MSG_CTRUNC))
      return 0;
  }
  return 1;
}

/* What a peek has shown, and what will be kept of it. */
struct sighting {
  int peeked, keep;   /* messages: how many were seen, and how many of the first will be kept */
  int32_t open, kept; /* the descriptors of these: open, and to be kept */
  int32_t length;     /* bytes of all messages */
  int others;         /* whether the kernel put something beside the descriptors */
  int refusal;        /* what to return if no message is kept */
};

enum { NONE = 1 };

/* What to return because of message i if it is the first; or NONE if it can be kept. */
static int refusal_of(int socket, const struct reception *r, int i, const struct fdp_demand *demand) {
  const struct mmsghdr *header = &r->header[i];
  if (header->msg_hdr.msg_flags & MSG_CTRUNC || (i == 0 && r->count[i] > demand->room))
    return -EMFILE;
  if (header->msg_hdr.msg_flags & MSG_TRUNC)
    return -EMSGSIZE;
  if (header->msg_len > 0 || r->count[i] > 0)
    return NONE;
  int ended = fdp_has_ended(socket);
  return ended < 0 ? ended : ended ? 0 : NONE;
}

/* Unpacks every message that was peeked at, and says which to keep. */
static struct sighting sight(int socket, struct reception *r, int peeked, const struct fdp_demand *demand,
                             struct fdp_batch *batch) {
  struct sighting s = {.peeked = peeked, .refusal = NONE};
  int stop = 0;
  for (int i = 0; i < peeked; i++) {
    struct fdp_unpacked got = fdp_unpack(&r->header[i].msg_hdr, batch->fd + s.open);
    r->count[i] = got.count;
    s.open += got.count;
    s.length += (int32_t)r->header[i].msg_len;
    s.others |= got.others;
    if (stop)
      continue;
    s.refusal = refusal_of(socket, r, i, demand);
    if ((stop = s.refusal != NONE))
      continue;
    batch->size[i] = (int32_t)r->header[i].msg_len;
    batch->count[i] = got.count;
    s.kept = s.open;
    s.keep = i + 1;
    /* A message that fills its room may be longer. The rest was then peeked at as the next message, with the same
     * descriptors again. */
    stop = s.kept >= demand->descriptors || r->header[i].msg_len >= demand->stride;
  }
  return s;
}

/* Sets the peek offset so that, after consuming, it points to the first message that is not kept. Keeps only one
 * message if somebody has changed the offset. The kernel moves the offset back by what it consumes. So this can be done
 * first, when a failure does not lose anything. */
static int settle_offset(int socket, const struct reception *r, struct sighting *s) {
  /* Somebody who shares the socket may have set the offset. Without an offset each peek shows the first message again.
   */
  if (s->peeked > 1 && peek_offset(socket) != s->length) {
    s->keep = s->keep > 0;
    s->kept = s->keep ? r->count[0] : 0;
    return set_peek_offset(socket, 0);
  }
  return s->keep < s->peeked ? rewind_peek(socket) : 0;
}

/* Consumes the messages to be kept, and corrects the count of their descriptors. */
static int take(int socket, struct reception *r, struct sighting *s, struct fdp_batch *batch, uint32_t stride) {
  int behind = 0, last = s->keep - 1;
  int taken = consume(socket, r, batch, s->keep, batch->size[last] >= (int32_t)stride, &behind);
  if (taken == s->keep) {
    if (behind) {
      s->kept -= batch->count[last];
      batch->count[last] = 0;
    }
    return taken;
  }
  /* If the offset were not put back, the next peek would skip messages. */
  int error = rewind_peek(socket);
  if (error)
    taken = taken > 0 ? -EIO : error;
  s->kept = 0;
  for (int i = 0; i < taken; i++)
    s->kept += batch->count[i];
  return taken;
}

int fdp_receive(int socket, uint8_t *bytes, const struct fdp_demand *demand, struct fdp_batch *batch) {
  struct reception r;
  /* Where there is no offset, descriptors are counted instead of limiting the room, because qemu-user truncates without
   * reporting it. */
  int whole = demand->room >= FDP_MAX_FDS || atomic_load(&singly);
  int peeked = peek(socket, &r, bytes, demand, whole);
  if (peeked < 0)
    return -errno;
  struct sighting s = sight(socket, &r, peeked, demand, batch);
  if (s.others)
    fdp_set_options(socket); /* somebody has turned one on again */
  if (s.keep == 0 && whole && r.header[0].msg_hdr.msg_flags & MSG_CTRUNC && is_denied(socket, &r, r.count[0]))
    s.refusal = -EACCES;
  int result = settle_offset(socket, &r, &s);
  if (result)
    s.kept = 0;
  else
    result = s.keep > 0 ? take(socket, &r, &s, batch, demand->stride) : s.refusal;
  if (result == -EIO)
    fdp_close_lost(socket, batch->fd, s.open);
  else
    fdp_close_peeked(socket, batch->fd + s.kept, s.open - s.kept);
  return result;
}

int fdp_pending(int socket) {
  char byte;
  ssize_t length;
  do
    length = recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  while (length < 0 && errno == EINTR);
  if (length < 0)
    return errno == EAGAIN ? fdp_nothing(socket) : -errno;
  int error = rewind_peek(socket);
  if (error || length > 0)
    return error ? error : 1;
  int ended = fdp_has_ended(socket);
  return ended < 0 ? ended : !ended;
}

int fdp_single(int socket, uint8_t *bytes, size_t length) {
  int queued;
  ssize_t first;
  do
    first = recv(socket, bytes, length, MSG_PEEK | MSG_DONTWAIT);
  while (first < 0 && errno == EINTR);
  if (first < 0 || rewind_peek(socket))
    return 0;
  /* For a datagram socket this counts only the first message (unix_inq_len in net/unix/af_unix.c). */
  return ioctl(socket, FIONREAD, &queued) == 0 && queued == first && fdp_socket_type(socket) != FDP_DGRAM;
}
