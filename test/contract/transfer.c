/* Sending and receiving: who owns what, order, bytes, errors and the end. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void arrives(void) {
  int pair[2], file = new_file();
  make_pair(ANY_TYPE, pair);
  EQUAL(send_message(pair[0], 1, &file, 1), 1);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(in.count[0], 1);
  EQUAL(in.size[0], BYTES);
  CHECK(in.fd[0] != file);
  CHECK(is_same(in.fd[0], file));
  EQUAL(fcntl(in.fd[0], F_GETFD), FD_CLOEXEC);
  EQUAL(fdp_close(in.fd[0]), 0);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

static void borrows(void) {
  int pair[2], file = new_file(), before;
  make_pair(ANY_TYPE, pair);
  before = open_count();
  EQUAL(send_message(pair[0], 1, &file, 1), 1);
  EQUAL(open_count(), before);
  EQUAL(fdp_check(file), 0);
  EQUAL(fdp_close(file), 0); /* the one in flight lives on */
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(fdp_check(in.fd[0]), 0);
  EQUAL(fdp_close(in.fd[0]), 0);
  close_all(pair, 2);
}

enum { FILES = 100, MESSAGES = 1000 };

static void send_many(int socket) {
  static struct fdp_batch batch;
  static uint8_t zeroes[FDP_MAX_MESSAGES];
  int files[FILES];
  for (int i = 0; i < FILES; i++) {
    files[i] = new_file();
    EQUAL(ftruncate(files[i], i), 0); /* its length is its name */
  }
  for (int sent = 0; sent < MESSAGES;) {
    int messages = 1 + sent % FDP_MAX_MESSAGES;
    if (messages > MESSAGES - sent)
      messages = MESSAGES - sent;
    for (int i = 0; i < messages; i++) {
      batch.size[i] = batch.count[i] = 1;
      batch.fd[i] = files[(sent + i) % FILES];
    }
    int result = fdp_send(socket, zeroes, &batch, messages);
    if (result > 0)
      sent += result;
    else if (result == -EAGAIN)
      pause_briefly();
    else
      EQUAL(result, 1);
  }
  close_all(files, FILES);
}

static void order_between_processes(void) {
  int pair[2];
  make_pair(ANY_TYPE, pair);
  pid_t child = fork_child(send_many, pair[1]);
  EQUAL(fdp_close(pair[1]), 0);
  for (int received = 0; received < MESSAGES;) {
    int result = receive(pair[0], FDP_MAX_MESSAGES, FDP_MAX_MESSAGES, 1);
    if (result == -EAGAIN)
      pause_briefly();
    else
      CHECK(result > 0);
    for (int i = 0; i < result; i++, received++) {
      EQUAL(in.count[i], 1);
      EQUAL(lseek(in.fd[i], 0, SEEK_END), received % FILES);
      EQUAL(fdp_close(in.fd[i]), 0);
    }
  }
  UNTIL(receive(pair[0], 1, 1, 1) == 0);
  join_child(child);
  EQUAL(fdp_close(pair[0]), 0);
}

static void both_ways(void) {
  int pair[2], files[20];
  make_pair(ANY_TYPE, pair);
  for (int i = 0; i < 20; i++) {
    files[i] = new_file();
    EQUAL(send_message(pair[i % 2], 1, &files[i], 1), 1);
  }
  for (int i = 0; i < 20; i++) {
    EQUAL(receive(pair[1 - i % 2], 1, 1, 1), 1);
    CHECK(is_same(in.fd[0], files[i]));
    EQUAL(fdp_close(in.fd[0]), 0);
  }
  close_all(files, 20);
  close_all(pair, 2);
}

static void fills_and_drains(void) {
  int pair[2], file = new_file(), sent = 0, received = 0, result;
  make_pair(ANY_TYPE, pair);
  while ((result = send_message(pair[0], 1, &file, 1)) == 1)
    sent++;
  CHECK(result == -EAGAIN || result == -ENOBUFS);
  CHECK(sent > 1);
  while ((result = receive(pair[1], 1, 1, 1)) == 1) {
    received++;
    EQUAL(fdp_close(in.fd[0]), 0);
  }
  EQUAL(result, -EAGAIN);
  EQUAL(received, sent);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

static void pending_takes_nothing(void) {
  int pair[2], file = new_file();
  make_pair(ANY_TYPE, pair);
  EQUAL(fdp_pending(pair[1]), -EAGAIN);
  EQUAL(receive(pair[1], 1, 1, 1), -EAGAIN);
  EQUAL(send_message(pair[0], 1, &file, 1), 1);
  EQUAL(fdp_pending(pair[1]), 1);
  EQUAL(fdp_pending(pair[1]), 1);
  EQUAL(fdp_close(pair[0]), 0);
  EQUAL(fdp_pending(pair[1]), 1);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  CHECK(is_same(in.fd[0], file));
  EQUAL(fdp_pending(pair[1]), 0);
  EQUAL(receive(pair[1], 1, 1, 1), 0);
  EQUAL(receive(pair[1], 1, 1, 1), 0);
  EQUAL(fdp_close(in.fd[0]), 0);
  EQUAL(fdp_close(file), 0);
  EQUAL(fdp_close(pair[1]), 0);
}

static void hung_up(void) {
  int pair[2], file = new_file();
  make_pair(ANY_TYPE, pair);
  EQUAL(fdp_hung_up(pair[1]), 0);
  EQUAL(send_message(pair[0], 1, &file, 1), 1);
  EQUAL(fdp_hung_up(pair[1]), 0);
  EQUAL(fdp_close(pair[0]), 0);
  EQUAL(fdp_hung_up(pair[1]), 1); /* though something is still there */
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(fdp_hung_up(pair[1]), 1);
  EQUAL(fdp_close(in.fd[0]), 0);
  EQUAL(fdp_close(file), 0);
  EQUAL(fdp_close(pair[1]), 0);
  EQUAL(fdp_hung_up(pair[1]), -EBADF);
}

#if FDP_PEEK
static void single(void) {
  static const enum fdp_type types[] = {FDP_STREAM, FDP_SEQPACKET};
  uint8_t room[4];
  for (int i = 0; i < 2; i++) {
    int pair[2], file = new_file();
    make_pair(types[i], pair);
    EQUAL(send_message(pair[0], 1, &file, 1), 1);
    EQUAL(fdp_single(pair[1], room, sizeof room), 1);
    EQUAL(fdp_single(pair[1], room, sizeof room), 1);
    EQUAL(send_message(pair[0], 1, &file, 1), 1);
    EQUAL(fdp_single(pair[1], room, sizeof room), 0);
    EQUAL(receive(pair[1], 1, 1, 1), 1); /* the peek took nothing */
    EQUAL(fdp_close(in.fd[0]), 0);
    EQUAL(fdp_single(pair[1], room, sizeof room), 1);
    EQUAL(receive(pair[1], 1, 1, 1), 1);
    EQUAL(fdp_close(in.fd[0]), 0);
    EQUAL(fdp_close(file), 0);
    close_all(pair, 2);
  }
}
#endif

static void peer_gone(void) {
  int pair[2], file = new_file();
  make_pair(ANY_TYPE, pair);
  EQUAL(fdp_close(pair[1]), 0);
  EQUAL(send_message(pair[0], 1, &file, 1), -EPIPE);
  EQUAL(fdp_check(file), 0);
  EQUAL(fdp_close(file), 0);
  EQUAL(fdp_close(pair[0]), 0);
}

static void unread_is_closed(void) {
  int pair[2], pipe_ends[2];
  char byte;
  make_pair(ANY_TYPE, pair);
  EQUAL(pipe(pipe_ends), 0);
  EQUAL(send_message(pair[0], 1, &pipe_ends[1], 1), 1);
  EQUAL(fdp_close(pipe_ends[1]), 0);
  close_all(pair, 2);
  EQUAL(read(pipe_ends[0], &byte, 1), 0); /* nobody can write to it any more */
  EQUAL(fdp_close(pipe_ends[0]), 0);
}

static void bad_descriptor(void) {
  static struct fdp_batch batch;
  int pair[2], file = new_file(), bad = 1000;
  uint8_t zeroes[2] = {0, 0};
  make_pair(ANY_TYPE, pair);
  EQUAL(send_message(pair[0], 1, &bad, 1), -EBADF);
  EQUAL(fdp_pending(pair[1]), -EAGAIN);
  batch.size[0] = batch.size[1] = batch.count[0] = batch.count[1] = 1;
  batch.fd[0] = file;
  batch.fd[1] = bad;
  EQUAL(fdp_send(pair[0], zeroes, &batch, 2), 1); /* the first was sent, the error is the second's */
  EQUAL(batch.tail, 1);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  CHECK(is_same(in.fd[0], file));
  EQUAL(receive(pair[1], 1, 1, 1), -EAGAIN);
  EQUAL(fdp_close(in.fd[0]), 0);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

static void not_a_socket(void) {
  int pair[2], file = new_file();
  make_pair(ANY_TYPE, pair); /* from the first one on, it is known what the system can do */
  EQUAL(fdp_attach(file), -ENOTSOCK);
  EQUAL(fdp_socket_type(file), -ENOTSOCK);
  EQUAL(fdp_socket_type(1000), -EBADF);
  EQUAL(fdp_is_socket(file), 0);
  EQUAL(fdp_is_socket(1000), 0);
  EQUAL(fdp_is_socket(pair[0]), 1);
  CHECK(send_message(file, 1, &file, 1) < 0);
  CHECK(receive(file, 1, 1, 1) < 0);
  CHECK(send_message(1000, 1, &file, 1) < 0);
  EQUAL(receive(1000, 1, 1, 1), -EBADF);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

#ifdef FDP_SYSV

static void one_descriptor_alone(void) {
  int pair[2], files[] = {new_file(), new_file()};
  make_pair(ANY_TYPE, pair);
  EQUAL(send_message(pair[0], 1, files, 2), -EINVAL);
  EQUAL(send_message(pair[0], 2, files, 1), -EINVAL);
  EQUAL(send_message(pair[0], 1, files, 0), -EINVAL);
  EQUAL(fdp_pending(pair[1]), -EAGAIN);
  EQUAL(fdp_end_sending(pair[0]), -EOPNOTSUPP);
  close_all(files, 2);
  close_all(pair, 2);
}

static void bytes_are_brought(void) {
  int pair[2];
  make_pair(ANY_TYPE, pair);
  EQUAL(write(pair[0], "hello", 5), 5);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(in.size[0], 5);
  EQUAL(in.count[0], 0);
  CHECK(memcmp(in_bytes, "hello", 5) == 0);
  close_all(pair, 2);
}

#else

static void most_in_a_message(void) {
  int pair[2], files[FDP_MAX_FDS];
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < FDP_MAX_FDS; i++)
    files[i] = new_file();
  EQUAL(send_message(pair[0], 1, files, FDP_MAX_FDS), 1);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(in.count[0], FDP_MAX_FDS);
  for (int i = 0; i < FDP_MAX_FDS; i++) {
    CHECK(is_same(in.fd[i], files[i]));
    EQUAL(fcntl(in.fd[i], F_GETFD), FD_CLOEXEC);
  }
  close_all(in.fd, FDP_MAX_FDS);
  close_all(files, FDP_MAX_FDS);
  close_all(pair, 2);
}

enum { LONG = 500000, LONG_MESSAGES = 30 };

/* Reads long messages, each of which begins with one byte of its own and ends with another. */
static void *read_long(void *argument) {
  static uint8_t bytes[65536];
  int socket = *(int *)argument;
  for (long at = 0, length; (length = read(socket, bytes, sizeof bytes)) != 0;) {
    CHECK(length > 0 || errno == EAGAIN);
    for (long i = 0; i < length; i++, at++) {
      long in_message = at % (LONG + 2);
      EQUAL(bytes[i], in_message == 0 ? 'a' : in_message == LONG + 1 ? 'z' : 0);
    }
  }
  return NULL;
}

/* A message sent after one that was sent in part would come in its middle, if the other end has made room. */
static void nothing_behind_a_part(void) {
  static uint8_t bytes[LONG + 2];
  static struct fdp_batch batch;
  const int32_t size[] = {1, LONG, 1};
  int pair[2], parts = 0;
  pthread_t reader;
  make_pair(FDP_STREAM, pair);
  bytes[0] = 'a';
  bytes[LONG + 1] = 'z';
  EQUAL(pthread_create(&reader, NULL, read_long, &pair[1]), 0);
  for (int i = 0; i < LONG_MESSAGES; i++)
    for (int offset = 0, piece = 0, within = 0; piece < 3;) {
      int messages = 3 - piece;
      for (int k = 0; k < messages; k++)
        batch.size[k] = size[piece + k] - (k == 0 ? within : 0);
      int sent = fdp_send(pair[0], bytes + offset, &batch, messages);
      if (sent < 0) {
        EQUAL(sent, -EAGAIN);
        continue;
      }
      for (int k = 0; k < sent; k++) {
        int length = k == sent - 1 ? batch.tail : batch.size[k];
        offset += length;
        within = length < batch.size[k] ? (k == 0 ? within : 0) + length : 0;
        piece += within == 0;
        parts += within > 0;
      }
    }
  EQUAL(fdp_end_sending(pair[0]), 0);
  EQUAL(pthread_join(reader, NULL), 0);
  CHECK(parts > 0);
  close_all(pair, 2);
}

/* Sends more than a buffer holds, going on after the tail each time, while the other end is read to the last byte. */
static void tail(void) {
  enum { SIZE = 3000000 };
  static uint8_t bytes[SIZE];
  static struct fdp_batch batch;
  int pair[2], files[] = {new_file(), new_file()}, sent = 0, received = 0, descriptors = 0, parts = 0;
  for (int i = 0; i < SIZE; i++)
    bytes[i] = (uint8_t)(i % 251);
  make_pair(FDP_STREAM, pair);
  while (received < SIZE) {
    if (sent < SIZE) {
      batch.size[0] = SIZE - sent;
      batch.count[0] = sent == 0 ? 2 : 0; /* they went with the first byte */
      batch.fd[0] = files[0];
      batch.fd[1] = files[1];
      int result = fdp_send(pair[0], bytes + sent, &batch, 1);
      if (result == 1) {
        CHECK(batch.tail > 0 && batch.tail <= SIZE - sent);
        sent += batch.tail;
        parts++;
      } else
        EQUAL(result, -EAGAIN);
    }
    int messages = receive(pair[1], 4, 2, 1);
    CHECK(messages > 0);
    for (int i = 0; i < messages; i++) {
      EQUAL(in.count[i], received == 0 ? 2 : 0);
      for (int k = 0; k < in.count[i]; k++) {
        CHECK(is_same(in.fd[k], files[descriptors++]));
        EQUAL(fdp_close(in.fd[k]), 0);
      }
      CHECK(memcmp(in_bytes + i * STRIDE, bytes + received, (size_t)in.size[i]) == 0);
      received += in.size[i];
    }
  }
  EQUAL(descriptors, 2);
  CHECK(parts > 1);
  EQUAL(receive(pair[1], 1, 1, 1), -EAGAIN);
  close_all(files, 2);
  close_all(pair, 2);
}

static void two_messages_cut_by_the_stride(void) {
  int pair[2], files[] = {new_file(), new_file(), new_file()}, next = 0, bytes = 0, result;
  make_pair(FDP_STREAM, pair);
  EQUAL(send_message(pair[0], 2 * STRIDE, files, 2), 1); /* fills the room exactly, twice */
  EQUAL(send_message(pair[0], 10, files + 2, 1), 1);
  while ((result = receive(pair[1], 3, 100, 2)) > 0)
    for (int i = 0, k = 0; i < result; i++) {
      for (int end = k + in.count[i]; k < end; k++) {
        CHECK(is_same(in.fd[k], files[next++]));
        CHECK(next < 3 ? bytes == 0 : bytes >= STRIDE); /* never before the message in front */
        EQUAL(fdp_close(in.fd[k]), 0);
      }
      bytes += in.size[i];
    }
  EQUAL(result, -EAGAIN);
  EQUAL(next, 3);
  EQUAL(bytes, 2 * STRIDE + 10);
  close_all(files, 3);
  close_all(pair, 2);
}

static void plain_bytes_between(void) {
  const int size[] = {2, 1, 1, 3, 4, 1}, count[] = {0, 1, 2, 0, 3, 0};
  int pair[2], files[6], first = 0, next = 0, bytes = 0, result;
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < 6; i++) {
    files[i] = new_file();
    EQUAL(ftruncate(files[i], i), 0);
  }
  for (int i = 0; i < 6; first += count[i++])
    EQUAL(send_message(pair[0], size[i], files + first, count[i]), 1);
  while ((result = receive(pair[1], FDP_MAX_MESSAGES, 100, 3)) > 0)
    for (int i = 0, k = 0; i < result; i++) {
      bytes += in.size[i];
      for (int end = k + in.count[i]; k < end; k++) {
        CHECK(is_same(in.fd[k], files[next++]));
        EQUAL(fdp_close(in.fd[k]), 0);
      }
    }
  EQUAL(result, -EAGAIN);
  EQUAL(next, 6);
  EQUAL(bytes, 12);
  close_all(files, 6);
  close_all(pair, 2);
}

static void demand_is_kept(void) {
  int pair[2], files[6];
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < 6; i++)
    files[i] = new_file();
  for (int i = 0; i < 3; i++)
    EQUAL(send_message(pair[0], 1, files + i, 1), 1);
  EQUAL(send_message(pair[0], 1, files + 3, 3), 1); /* more than is expected */
  int next = 0, messages = 0;
  while (next < 6) {
    int result = receive(pair[1], 8, 2, 1);
    CHECK(result > 0);
    int descriptors = 0;
    for (int i = 0; i < result; i++) {
      CHECK(i == 0 || in.count[i] <= 1);
      CHECK(i == 0 || descriptors < 2);
      descriptors += in.count[i];
    }
    for (int k = 0; k < descriptors; k++) {
      CHECK(is_same(in.fd[k], files[next++]));
      EQUAL(fdp_close(in.fd[k]), 0);
    }
    messages += result;
  }
  EQUAL(messages, 4);
  close_all(files, 6);
  close_all(pair, 2);
}

static void half_ends(void) {
  int pair[2], file = new_file();
  make_pair(FDP_STREAM, pair);
  EQUAL(send_message(pair[0], 1, &file, 1), 1);
  EQUAL(fdp_end_sending(pair[0]), 0);
  EQUAL(fdp_hung_up(pair[0]), 0);
  EQUAL(fdp_hung_up(pair[1]), 0);
  EQUAL(send_message(pair[0], 1, &file, 1), -EPIPE);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(fdp_close(in.fd[0]), 0);
  EQUAL(fdp_pending(pair[1]), 0);
  EQUAL(receive(pair[1], 1, 1, 1), 0);
  EQUAL(send_message(pair[1], 1, &file, 1), 1); /* the other direction goes on */
  EQUAL(receive(pair[0], 1, 1, 1), 1);
  CHECK(is_same(in.fd[0], file));
  EQUAL(fdp_close(in.fd[0]), 0);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

#endif

const struct test transfer_tests[] = {
    {"a descriptor arrives as another number of the same file, close-on-exec", arrives},
    {"a send borrows: the sender's descriptor stays open, and closing it does not touch the one in flight", borrows},
    {"1000 messages of another process arrive in order, and then the end", order_between_processes},
    {"both directions are independent and in order", both_ways},
    {"a full buffer says EAGAIN, and all that was taken arrives", fills_and_drains},
    {"fdp_pending tells nothing, something and the end, and takes nothing", pending_takes_nothing},
    {"fdp_hung_up tells when the peer has gone, whatever it left", hung_up},
#if FDP_PEEK
    {"fdp_single tells a message behind which stands no other", single},
#endif
    {"sending to a peer that has gone is EPIPE, and closes nothing", peer_gone},
    {"what was sent and never received is closed with the socket", unread_is_closed},
    {"a bad descriptor refuses its message alone", bad_descriptor},
    {"what cannot carry descriptors is refused", not_a_socket},
#ifdef FDP_SYSV
    {"a message with anything but one descriptor and one byte is refused, and nothing of it sent",
     one_descriptor_alone},
    {"bytes that a stream brings instead of a descriptor are given to the caller", bytes_are_brought},
#else
    {"253 descriptors in one message arrive in order, all close-on-exec", most_in_a_message},
    {"nothing goes behind a message that went in part", nothing_behind_a_part},
    {"a message larger than the buffer goes in parts, its descriptors once, with its first byte", tail},
    {"descriptors behind a message that fills its room exactly come once, and with their own bytes",
     two_messages_cut_by_the_stride},
    {"plain bytes between descriptors change neither their number nor their order", plain_bytes_between},
    {"a receive keeps to its demand", demand_is_kept},
    {"ending one direction leaves the other", half_ends},
#endif
    {0}};
