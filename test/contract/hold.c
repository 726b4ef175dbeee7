/* Sockets in flight, where the sender must hold them until the peer has read them. */
#include "contract.h"

#include <errno.h>
#include <sys/socket.h>

#if FDP_HOLD && !FDP_PEEK

static void held_until_read(void) {
  int pair[2], sent[2], before;
  make_pair(FDP_STREAM, pair);
  make_pair(FDP_STREAM, sent);
  before = open_count();
  EQUAL(send_message(pair[0], 1, sent, 1), 1);
  EQUAL(open_count(), before + 2); /* the duplicate, and one of the socket that it went over */
  EQUAL(fdp_close(sent[0]), 0);
  for (int i = 0; i < 50; i++)
    pause_briefly(); /* time enough for the thread to look */
  EQUAL(open_count(), before + 1);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  UNTIL(open_count() == before);
  EQUAL(fdp_close(in.fd[0]), 0);
  char byte;
  EQUAL(recv(sent[1], &byte, 1, MSG_DONTWAIT), 0); /* no duplicate is left anywhere */
  EQUAL(fdp_close(sent[1]), 0);
  close_all(pair, 2);
}

static void files_are_not_held(void) {
  int pair[2], file = new_file(), before;
  make_pair(FDP_STREAM, pair);
  before = open_count();
  EQUAL(send_message(pair[0], 1, &file, 1), 1);
  EQUAL(open_count(), before);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

static void outlives_its_carrier(void) {
  int pair[2], sent[2], files[] = {new_file(), 0};
  make_pair(FDP_STREAM, pair);
  make_pair(FDP_STREAM, sent);
  files[1] = sent[0];
  EQUAL(send_message(pair[0], 1, files, 2), 1);
  EQUAL(fdp_close(sent[0]), 0);
  EQUAL(fdp_close(pair[0]), 0);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(in.count[0], 2);
  CHECK(is_same(in.fd[0], files[0]));
  close_all(in.fd, 2);
  UNTIL(receive(pair[1], 1, 1, 1) == 0);
  EQUAL(fdp_close(pair[1]), 0);
  EQUAL(fdp_close(files[0]), 0);
  EQUAL(fdp_close(sent[1]), 0);
}

static void dropped_with_the_peer(void) {
  int pair[2], sent[2];
  make_pair(FDP_STREAM, pair);
  make_pair(FDP_STREAM, sent);
  int before = open_count();
  EQUAL(send_message(pair[0], 1, sent, 1), 1);
  EQUAL(fdp_close(pair[1]), 0);
  UNTIL(open_count() == before - 1);
  EQUAL(send_message(pair[0], 1, sent, 1), -EPIPE); /* what was not sent is let go at once */
  EQUAL(open_count(), before - 1);
  EQUAL(fdp_close(pair[0]), 0);
  close_all(sent, 2);
}

static void has_a_bound(void) {
  int pair[2], sent[2], held = 0, result;
  const int big = 1 << 20;
  make_pair(FDP_STREAM, pair);
  make_pair(FDP_STREAM, sent);
  EQUAL(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof big), 0);
  while ((result = send_message(pair[0], 1, sent, 1)) == 1)
    held++;
  EQUAL(result, -ENOBUFS);
  EQUAL(held, 256);
  for (int i = 0; i < held; i++) {
    EQUAL(receive(pair[1], 1, 1, 1), 1);
    EQUAL(fdp_close(in.fd[0]), 0);
  }
  UNTIL(send_message(pair[0], 1, sent, 1) == 1);
  close_all(pair, 2);
  close_all(sent, 2);
}

#endif

const struct test hold_tests[] = {
#if FDP_HOLD && !FDP_PEEK
    {"a socket that was sent is held until the peer has read it, and no longer", held_until_read},
    {"what is no socket is not held", files_are_not_held},
    {"a held socket outlives the socket that it was sent over, and the peer then finds the end", outlives_its_carrier},
    {"a held socket is let go when the peer has gone", dropped_with_the_peer},
    {"no more than 256 messages are held: sending then waits", has_a_bound},
#endif
    {0}};
