/*
 * Fuzzes fdp_receive over a real socket: the input says what a peer sends, how little room this process has, and what
 * is asked for. A model knows what the kernel has, and so what must come out: every byte and descriptor, once, in
 * order.
 *
 * scripts/fuzz.js builds and runs it.
 */
#include "../../native/fdpasser.h"
#include "../contract/emulation/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  KINDS = 32,        /* different descriptors to send */
  MOST_QUEUED = 256, /* messages that one input sends */
  MOST_BYTES = 1 << 16,
  MOST_STRIDE = 1024,
  MOST_OPEN = 1024 /* no number as high is ever open here */
};

#define CHECK(what)          \
  do {                       \
    if (!(what))             \
      fail(#what, __LINE__); \
  } while (0)

static void fail(const char *what, int line) {
  fprintf(stderr, "receive.c:%d: not so: %s\n", line, what);
  abort();
}

/* ---- the input -------------------------------------------------------------------------------------------------- */

struct input {
  const uint8_t *at, *end;
};

static unsigned byte(struct input *input) { return input->at < input->end ? *input->at++ : 0; }

static unsigned word(struct input *input) {
  unsigned high = byte(input);
  return high << 8 | byte(input);
}

/* ---- what is sent ----------------------------------------------------------------------------------------------- */

static int kind[KINDS];
static struct stat identity[KINDS];

static void make_kinds(void) {
  for (int i = 0; i < KINDS; i++) {
    int pair[2];
    switch (i % 4) {
    case 0:
      CHECK(!pipe2(pair, O_CLOEXEC));
      kind[i] = pair[0];
      break;
    case 1:
      CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
      kind[i] = pair[0];
      break;
    case 2:
      kind[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      break;
    default:
      kind[i] = memfd_create("fuzz", MFD_CLOEXEC);
    }
    CHECK(kind[i] >= 0 && !fstat(kind[i], &identity[i]));
  }
}

/* ---- the model: what the kernel has ----------------------------------------------------------------------------- */

struct queued {
  size_t begin; /* of its bytes, in all that were ever sent */
  size_t size;
  int count;
  int first; /* its descriptors are the kinds from this one on, in turn */
};

static struct model {
  enum fdp_type type;
  struct queued queue[MOST_QUEUED];
  int head, tail;         /* of what the kernel has */
  size_t taken, sent;     /* bytes */
  int ended, reset, full; /* the peer closed; an error waits to be reported; the table may have no room */
} model;

static uint8_t pattern(size_t at) { return (uint8_t)(at * 31 + at / 256); }

static void peer_sends(int peer, struct input *input) {
  static uint8_t bytes[MOST_STRIDE];
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FDP_MAX_FDS * sizeof(int)) + CMSG_SPACE(sizeof(int))];
  } control;
  if (peer < 0 || model.tail == MOST_QUEUED || model.sent + MOST_STRIDE > MOST_BYTES)
    return;
  struct queued *message = &model.queue[model.tail];
  size_t size = word(input) % MOST_STRIDE;
  int count = (int)byte(input);
  count = count > FDP_MAX_FDS ? FDP_MAX_FDS : count > 200 ? count : count % 5;
  int first = (int)byte(input) % KINDS;
  unsigned way = byte(input);
  int parts = count > 1 && way % 4 == 0 ? 2 : 1;
  int flags = model.type == FDP_STREAM && way / 4 % 8 == 1 ? MSG_OOB : 0; /* its last byte */

  for (size_t i = 0; i < size; i++)
    bytes[i] = pattern(model.sent + i);
  struct iovec part = {bytes, size};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
  memset(&control, 0, sizeof control);
  char *at = control.bytes;
  for (int p = 0, done = 0; count > 0 && p < parts; p++) {
    int many = p == parts - 1 ? count - done : 1;
    struct cmsghdr *rights = (struct cmsghdr *)(void *)at;
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN((size_t)many * sizeof(int));
    for (int i = 0; i < many; i++, done++)
      memcpy(CMSG_DATA(rights) + (size_t)i * sizeof(int), &kind[(first + done) % KINDS], sizeof(int));
    at += CMSG_SPACE((size_t)many * sizeof(int));
  }
  if (count > 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = (size_t)(at - control.bytes);
  }
  ssize_t sent = sendmsg(peer, &header, MSG_DONTWAIT | MSG_NOSIGNAL | flags);
  if (sent < 0 || (sent == 0 && model.type == FDP_STREAM))
    return;
  *message = (struct queued){model.sent, (size_t)sent, count, first};
  model.sent += (size_t)sent;
  model.tail++;
}

/* ---- somebody who shares the socket ------------------------------------------------------------------------------ */

/* The next bit says whether credentials are asked for. Without it the kernel joins more. */
static uint32_t asking;

static void ask_or_not(int socket, int flags) {
  int on = (int)(asking & 1);
  (void)flags;
  if (asking)
    CHECK(!setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
  asking = asking >> 1 | asking << 31;
}

static void do_nothing(int socket, int flags) {
  (void)socket;
  (void)flags;
}

/* ---- what comes out --------------------------------------------------------------------------------------------- */

static void is_descriptor(int fd, int which) {
  struct stat status;
  CHECK(!fstat(fd, &status));
  CHECK(status.st_ino == identity[which % KINDS].st_ino && status.st_dev == identity[which % KINDS].st_dev);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

/* Checks that one message with its descriptors is exactly the next of the model. Returns how many descriptors it
 * had. */
static int is_next(const uint8_t *bytes, size_t size, const int32_t *fd, int count, uint32_t stride) {
  const struct queued *from = NULL;
  CHECK(size <= stride && model.taken + size <= model.sent);
  for (size_t i = 0; i < size; i++)
    CHECK(bytes[i] == pattern(model.taken + i));
  if (model.type != FDP_STREAM) {
    from = &model.queue[model.head];
    CHECK(model.head < model.tail && from->size == size);
    model.head++;
  } else {
    /* Descriptors come with the first byte of their message, and those of two messages never together. */
    CHECK(size > 0);
    for (; model.head < model.tail && model.queue[model.head].begin < model.taken + size; model.head++) {
      if (model.queue[model.head].count == 0)
        continue;
      CHECK(!from);
      from = &model.queue[model.head];
    }
  }
  model.taken += size;
  CHECK(count == (from ? from->count : 0));
  for (int i = 0; i < count; i++) {
    is_descriptor(fd[i], from->first + i);
    close(fd[i]);
  }
  return count;
}

static struct fdp_demand some_demand(struct input *input) {
  struct fdp_demand demand;
  demand.messages = model.type == FDP_STREAM ? 1 + (int)(byte(input) % FDP_MAX_MESSAGES) : 1;
  demand.descriptors = 1 + (int)byte(input);
  demand.expected = (int)byte(input) % (FDP_MAX_FDS + 1);
  demand.room = FDP_MAX_FDS;
  demand.stride = 1 + word(input) % MOST_STRIDE;
  return demand;
}

/* Once, and before what is left or after it. */
static void reset_is_told(void) {
  CHECK(model.reset);
  model.reset = 0;
}

static void receive(int socket, struct fdp_demand demand) {
  static struct fdp_batch batch;
  static uint8_t bytes[FDP_MAX_MESSAGES * MOST_STRIDE];
  memset(&batch, 0xff, sizeof batch);
  int received = fdp_receive(socket, bytes, &demand, &batch);
  const int32_t *fd = batch.fd;
  int total = 0;
  size_t left = model.sent - model.taken;

  CHECK(received <= demand.messages);
  for (int i = 0; i < received; i++) {
    CHECK(total < demand.descriptors || i == 0);
    CHECK(i == 0 || batch.count[i] <= demand.expected);
    int count = is_next(bytes + (size_t)i * demand.stride, (size_t)batch.size[i], fd, batch.count[i], demand.stride);
    fd += count;
    total += count;
  }
  switch (received) {
  case 0:
    CHECK(model.ended && model.head == model.tail && left == 0);
    return;
  case -EAGAIN:
    CHECK(!model.ended && model.head == model.tail && left == 0);
    return;
  case -EMFILE:
    CHECK(model.full && model.head < model.tail);
    return;
  case -EMSGSIZE:
    CHECK(model.type != FDP_STREAM && model.queue[model.head].size > demand.stride);
    return;
  case -ECONNRESET:
    reset_is_told();
    return;
  default:
    CHECK(received > 0);
  }
}

static void look(int socket) {
  int left = model.head < model.tail || model.taken < model.sent;
  int found = fdp_pending(socket);
  switch (found) {
  case 1:
    CHECK(left);
    return;
  case 0:
    CHECK(model.ended && !left);
    return;
  case -EAGAIN:
    CHECK(!model.ended && !left);
    return;
  case -ECONNRESET:
    reset_is_told();
    return;
  default:
    CHECK(found == 1);
  }
}

/* ---- this process ----------------------------------------------------------------------------------------------- */

static void limit_to(rlim_t descriptors) {
  struct rlimit limit;
  CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = descriptors;
  CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
}

static int lowest_free(void) {
  int fd = fcntl(0, F_DUPFD, 0);
  CHECK(fd >= 0);
  close(fd);
  return fd;
}

/* How many are open: poll says which are not. */
static int count_open(void) {
  static struct pollfd all[MOST_OPEN];
  int open = 0;
  for (int fd = 0; fd < MOST_OPEN; fd++)
    all[fd].fd = fd;
  CHECK(poll(all, MOST_OPEN, 0) > 0);
  for (int fd = 0; fd < MOST_OPEN; fd++)
    open += !(all[fd].revents & POLLNVAL);
  return open;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
  shared_before = ask_or_not;
  shared_after = do_nothing;
  make_kinds();
  limit_to(MOST_OPEN);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input input = {data, data + size};
  int ends[2], before = count_open();
  memset(&model, 0, sizeof model);
  unsigned choice = byte(&input);
  model.type = (enum fdp_type)(choice % 3);
  asking = choice / 3 * 0x9e3779b1;
  CHECK(!fdp_pair(model.type, ends) && fdp_attach(ends[0]) >= 0);
  int free_from = lowest_free();

  while (input.at < input.end)
    switch (byte(&input) % 9) {
    case 0:
    case 1:
    case 2:
      ask_or_not(ends[0], 0);
      peer_sends(ends[1], &input);
      break;
    case 3:
    case 4:
      receive(ends[0], some_demand(&input));
      break;
    case 8:
      look(ends[0]);
      break;
    case 5: /* so few more descriptors fit */
      limit_to((rlim_t)free_from + byte(&input));
      model.full = 1;
      break;
    case 6:
      limit_to(MOST_OPEN);
      model.full = 0;
      break;
    case 7: /* the peer goes, sometimes with something unread */
      if (ends[1] < 0 || byte(&input) % 8)
        break;
      if (byte(&input) % 2 && send(ends[0], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
        model.reset = 1;
      close(ends[1]);
      ends[1] = -1;
      model.ended = model.type != FDP_DGRAM;
    }

  /* What is left comes, and nothing else. */
  limit_to(MOST_OPEN);
  model.full = 0;
  struct fdp_demand all = {model.type == FDP_STREAM ? FDP_MAX_MESSAGES : 1, FDP_MAX_FDS * FDP_MAX_MESSAGES, FDP_MAX_FDS,
                           FDP_MAX_FDS, MOST_STRIDE};
  for (int rounds = 0; model.head < model.tail || model.taken < model.sent; rounds++) {
    CHECK(rounds <= MOST_BYTES);
    receive(ends[0], all);
  }
  close(ends[0]);
  if (ends[1] >= 0)
    close(ends[1]);
  CHECK(count_open() == before);
  return 0;
}
