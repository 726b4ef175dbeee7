/* What somebody who shares a socket does to it between a peek and the receive that takes. */
#include "contract.h"

#ifdef FDP_SHARED

#define EMULATION
#include "emulation/shared.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif
#ifndef SO_INQ
#define SO_INQ 84
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

static unsigned next_random(unsigned below) {
  static unsigned state = 1;
  state = state * 1103515245 + 12345;
  return (state >> 16) % below;
}

/* Not every kernel or kind of socket has all options. */
static void set(int socket, int option, int value) {
  int error = errno;
  setsockopt(socket, SOL_SOCKET, option, &value, sizeof value);
  errno = error;
}

/* ---- what is joined --------------------------------------------------------------------------------------------- */

enum { KINDS = 5, ROUNDS = 4000, MESSAGES = 10, MOST_BYTES = 7 };

static void ask_or_not(int socket, int flags) {
  (void)flags;
  set(socket, SO_PASSCRED, next_random(2) == 0);
  set(socket, SO_PASSPIDFD, next_random(8) == 0);
}

/* Bytes count up, and so do the descriptors. */
struct sent {
  int begin, end, count, first;
};

static void send_one(int pair[2], const int *files, const struct sent *message, int with_credentials) {
  static struct fdp_batch batch;
  uint8_t bytes[MOST_BYTES];
  batch.size[0] = message->end - message->begin;
  batch.count[0] = message->count;
  for (int i = 0; i < batch.size[0]; i++)
    bytes[i] = (uint8_t)(message->begin + i);
  for (int i = 0; i < message->count; i++)
    batch.fd[i] = files[(message->first + i) % KINDS];
  set(pair[1], SO_PASSCRED, with_credentials);
  EQUAL(fdp_send(pair[0], bytes, &batch, 1), 1);
  set(pair[1], SO_PASSCRED, 0);
}

/* Takes all. Each descriptor must come once, and with the first byte of its message. */
static void take_all(int socket, const int *files, const struct sent *message, int all, int messages, uint32_t stride) {
  int bytes = 0, result;
  struct fdp_demand demand = {messages, 1 + (int)next_random(12), 3, FDP_MAX_FDS, stride};
  while ((result = fdp_receive(socket, in_bytes, &demand, &in)) > 0)
    for (int i = 0, fd = 0; i < result; i++) {
      int count = 0, first = 0;
      for (int k = 0; k < in.size[i]; k++, bytes++) {
        EQUAL(in_bytes[(uint32_t)i * demand.stride + (uint32_t)k], (uint8_t)bytes);
        for (; message->begin < bytes; message++)
          ;
        if (message->begin != bytes || message->count == 0)
          continue;
        EQUAL(count, 0); /* descriptors of two messages never come together */
        count = message->count;
        first = message->first;
      }
      EQUAL(in.count[i], count);
      for (int k = 0; k < count; k++, fd++) {
        CHECK(is_same(in.fd[fd], files[(first + k) % KINDS]));
        EQUAL(close(in.fd[fd]), 0);
      }
    }
  EQUAL(result, -EAGAIN);
  EQUAL(bytes, all);
}

static void whatever_is_joined(void) {
  int pair[2], files[KINDS];
  for (int i = 0; i < KINDS; i++)
    files[i] = new_file();
  make_pair(FDP_STREAM, pair);
  shared_before = ask_or_not;
  for (int round = 0; round < ROUNDS; round++) {
    struct sent message[MESSAGES + 1];
    int bytes = 0, descriptors = 0;
    for (int i = 0; i < MESSAGES; i++) {
      int size = 1 + (int)next_random(MOST_BYTES), count = next_random(2) ? 0 : 1 + (int)next_random(3);
      message[i] = (struct sent){bytes, bytes + size, count, descriptors};
      bytes += size;
      descriptors += count;
      send_one(pair, files, &message[i], next_random(2) == 0);
    }
    message[MESSAGES] = (struct sent){bytes, bytes, 0, 0};
    take_all(pair[1], files, message, bytes, 1 + (int)next_random(8), 1 + next_random(12));
  }
  close_all(files, KINDS);
  close_all(pair, 2);
}

static const char *asked; /* whether credentials are asked for, call by call */

static void ask_in_turn(int socket, int flags) {
  (void)flags;
  set(socket, SO_PASSCRED, *asked == '1');
  asked += *asked != 0;
}

/* Descriptors of a message in front do not make those behind a message that fills its room that message's own. */
static void behind_what_fills_its_room(void) {
  const struct sent message[] = {{0, 3, 0, 0}, {3, 6, 1, 0}, {6, 8, 0, 1}, {8, 15, 0, 1}, {15, 16, 1, 1}};
  const int size[] = {6, 2, 7}, count[] = {1, 0, 0};
  int pair[2], files[KINDS];
  struct fdp_demand demand = {3, 8, 3, FDP_MAX_FDS, 7};
  for (int i = 0; i < KINDS; i++)
    files[i] = new_file();
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < 5; i++)
    send_one(pair, files, &message[i], i % 2 == 0);
  shared_before = ask_in_turn;
  asked = "010110";
  EQUAL(fdp_receive(pair[1], in_bytes, &demand, &in), 3);
  EQUAL(*asked, 0);
  for (int i = 0; i < 3; i++) {
    EQUAL(in.size[i], size[i]);
    EQUAL(in.count[i], count[i]);
  }
  CHECK(is_same(in.fd[0], files[0]));
  EQUAL(close(in.fd[0]), 0);
  EQUAL(fdp_receive(pair[1], in_bytes, &demand, &in), 1);
  EQUAL(in.size[0], 1);
  EQUAL(in.count[0], 1);
  CHECK(is_same(in.fd[0], files[1]));
  EQUAL(close(in.fd[0]), 0);
  close_all(files, KINDS);
  close_all(pair, 2);
}

/* ---- other options ---------------------------------------------------------------------------------------------- */

static const struct {
  int name, value, back;
} options[] = {{SO_PASSCRED, 1, 0},     {SO_PASSSEC, 1, 0},   {SO_PASSPIDFD, 1, 0}, {SO_TIMESTAMP, 1, 0},
               {SO_TIMESTAMPNS, 1, 0},  {SO_RXQ_OVFL, 1, 0},  {SO_INQ, 1, 0},       {SO_RCVLOWAT, 1000, 1},
               {SO_PEEK_OFF, -1, 0},    {SO_PEEK_OFF, 0, -1}, {SO_PEEK_OFF, 0, 0},  {SO_OOBINLINE, 0, 1},
               {SO_RCVBUF, 1, 1 << 16}, {SO_RCVMARK, 1, 0},   {SO_BUSY_POLL, 1, 0}, {SO_TIMESTAMPING, 0x1f8, 0}};

static size_t option;
static int at_peeks;

static void change(int socket, int flags) {
  if (!(flags & MSG_PEEK) == !at_peeks)
    set(socket, options[option].name, options[option].value);
}

static void change_back(int socket, int flags) {
  if (!(flags & MSG_PEEK) == !at_peeks)
    set(socket, options[option].name, options[option].back);
}

static void change_any(enum fdp_type type, const int *files) {
  struct sent message[MESSAGES + 1];
  int pair[2], bytes = 0, descriptors = 0;
  make_pair(type, pair);
  for (int i = 0; i < MESSAGES; i++) {
    int size = 1 + i % MOST_BYTES, count = i % 4;
    message[i] = (struct sent){bytes, bytes + size, count, descriptors};
    bytes += size;
    descriptors += count;
    send_one(pair, files, &message[i], i % 2);
  }
  message[MESSAGES] = (struct sent){bytes, bytes, 0, 0};
  take_all(pair[1], files, message, bytes, type == FDP_STREAM ? 8 : 1, MOST_BYTES);
  close_all(pair, 2);
}

static void other_options(void) {
  const enum fdp_type types[] = {FDP_STREAM, FDP_SEQPACKET, FDP_DGRAM};
  int files[KINDS];
  for (int i = 0; i < KINDS; i++)
    files[i] = new_file();
  shared_before = change;
  shared_after = change_back;
  for (option = 0; option < sizeof options / sizeof *options; option++)
    for (int i = 0; i < 6; i++) {
      change_any(types[i % 3], files);
    }
  close_all(files, KINDS);
}

/* ---- a second reader -------------------------------------------------------------------------------------------- */

static void send_text(int socket, const char *text, int file) {
  static struct fdp_batch batch;
  batch.size[0] = (int32_t)strlen(text);
  batch.count[0] = file >= 0;
  batch.fd[0] = file;
  EQUAL(fdp_send(socket, (const uint8_t *)text, &batch, 1), 1);
}

static int to_read; /* how many bytes the second reader takes, once */
static int answer_to, answer;

/* Of a stream these bytes, and of other sockets one packet with so many. */
static void read_some(int socket, int flags) {
  char bytes[STRIDE];
  if (flags & MSG_PEEK)
    return;
  for (ssize_t length; to_read > 0; to_read -= (int)length)
    CHECK((length = recv(socket, bytes, (size_t)to_read, MSG_DONTWAIT)) > 0);
}

static void ask_and_read(int socket, int flags) {
  set(socket, SO_PASSCRED, !(flags & MSG_PEEK));
  read_some(socket, flags);
}

static void read_and_have_more_sent(int socket, int flags) {
  int more = !(flags & MSG_PEEK) && to_read > 0;
  read_some(socket, flags);
  if (more)
    send_text(answer_to, "other", answer);
}

/* Somebody else reads so many bytes between the peek and the receive, which must be EIO and leave nothing open. */
static void expect_loss(int pair[2], int messages, int bytes, void (*way)(int, int)) {
  int before = open_count();
  shared_before = way;
  to_read = bytes;
  EQUAL(receive(pair[1], messages, 8, 1), -EIO);
  EQUAL(to_read, 0);
  EQUAL(open_count(), before);
  close_all(pair, 2);
}

static void send_all(enum fdp_type type, int pair[2], const char *const *text, int file) {
  make_pair(type, pair);
  for (; *text; text++)
    send_text(pair[0], *text, file);
}

static void second_reader(void) {
  void (*const way[])(int, int) = {read_some, ask_and_read};
  const char *const messages[] = {"first", "the second", "and", "another", NULL};
  const int all[] = {1, 3, 5, 6, 15, 18, 24, 25}, of_two[] = {4, 5, 6};
  int pair[2], file = new_file();
  for (int w = 0; w < 2; w++) {
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
      send_all(FDP_STREAM, pair, messages, file);
      EQUAL(fdp_end_sending(pair[0]), 0);
      expect_loss(pair, 8, all[i], way[w]);
    }
    for (size_t i = 0; i < sizeof of_two / sizeof *of_two; i++) {
      send_all(FDP_STREAM, pair, messages, file);
      expect_loss(pair, 2, of_two[i], way[w]);
    }
  }
  EQUAL(fdp_close(file), 0);
}

/* As many bytes as were peeked at, but with a descriptor. */
static void other_descriptors(void) {
  int pair[2];
  make_pair(FDP_STREAM, pair);
  answer_to = pair[0];
  answer = new_file();
  send_text(pair[0], "plain", -1);
  expect_loss(pair, 1, 5, read_and_have_more_sent);
  EQUAL(fdp_close(answer), 0);
}

static void second_reader_of_packets(void) {
  const enum fdp_type types[] = {FDP_SEQPACKET, FDP_DGRAM};
  const char *const longer[] = {"first", "the second", NULL}, *const shorter[] = {"the first", "second", NULL};
  int pair[2], file = new_file();
  for (int t = 0; t < 2; t++) {
    send_all(types[t], pair, longer, file);
    expect_loss(pair, 1, 5, read_some);
    send_all(types[t], pair, shorter, file);
    expect_loss(pair, 1, 9, read_some);
  }
  EQUAL(fdp_close(file), 0);
}

#endif

const struct test shared_tests[] = {
#ifdef FDP_SHARED
    {"whatever the kernel joins, bytes and descriptors come once and in order", whatever_is_joined},
    {"descriptors behind a message that fills its room exactly come once, whatever the kernel joins",
     behind_what_fills_its_room},
    {"an option that is changed for one call alone changes nothing, for any socket", other_options},
    {"bytes that a second reader took between a peek and its receive are EIO", second_reader},
    {"descriptors that come where a second reader took plain bytes are EIO", other_descriptors},
    {"a packet that a second reader took between a peek and its receive is EIO", second_reader_of_packets},
#endif
    {0}};
