/* A full descriptor table: what stays in the kernel, and how losses are reported. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int filler[MOST_OPEN];

static void stays_until_there_is_room(void) {
  int pair[2], file = new_file();
  make_pair(ANY_TYPE, pair);
  EQUAL(send_message(pair[0], 1, &file, 1), 1);
  limit_table(64);
  int count = fill_table(filler);
  for (int i = 0; i < 3; i++) {
    EQUAL(receive(pair[1], 1, 1, 1), -EMFILE);
    EQUAL(fdp_pending(pair[1]), 1);
  }
  EQUAL(send_message(pair[0], 1, &file, 1), 1); /* sending needs no slot */
  for (int i = 0; i < 2; i++) {
    EQUAL(fdp_close(filler[--count]), 0);
    EQUAL(receive(pair[1], 1, 1, 1), 1);
    CHECK(is_same(in.fd[0], file));
    filler[count++] = in.fd[0];
    EQUAL(receive(pair[1], 1, 1, 1), i == 0 ? -EMFILE : -EAGAIN);
  }
  close_all(filler, count);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

#ifndef FDP_SYSV

enum { MANY = 40 };

/* Sends one message, then fills the table; returns what `fill_table` does. */
static int send_many(int pair[2], int files[MANY]) {
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < MANY; i++)
    files[i] = new_file();
  EQUAL(send_message(pair[0], 1, files, MANY), 1);
  limit_table(200);
  return fill_table(filler);
}

static void many_stay_whole(void) {
  int pair[2], files[MANY], count = send_many(pair, files);
  for (int room = 0; room < MANY; room += 13) {
    EQUAL(receive(pair[1], 1, 1, MANY), -EMFILE);
    for (int i = 0; i < 13; i++)
      EQUAL(fdp_close(filler[--count]), 0);
  }
  EQUAL(receive(pair[1], 1, 1, MANY), 1);
  EQUAL(in.count[0], MANY);
  for (int i = 0; i < MANY; i++)
    CHECK(is_same(in.fd[i], files[i]));
  close_all(in.fd, MANY);
  close_all(filler, count);
  close_all(files, MANY);
  close_all(pair, 2);
}

#if FDP_PEEK

/* While the table grows there is room for few. */
static void more_than_asked_stays(void) {
  int pair[2], files[MANY];
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < MANY; i++)
    files[i] = new_file();
  EQUAL(send_message(pair[0], 1, files, MANY), 1);
  int before = open_count();
  struct fdp_demand demand = {1, 1, 1, MANY - 1, STRIDE};
  for (; demand.room > 0; demand.room /= 2) {
    EQUAL(fdp_receive(pair[1], in_bytes, &demand, &in), -EMFILE);
    EQUAL(open_count(), before);
  }
  demand.room = MANY;
  EQUAL(fdp_receive(pair[1], in_bytes, &demand, &in), 1);
  EQUAL(in.count[0], MANY);
  for (int i = 0; i < MANY; i++)
    CHECK(is_same(in.fd[i], files[i]));
  close_all(in.fd, MANY);
  close_all(files, MANY);
  close_all(pair, 2);
}

#endif

/* The room may end in the middle of the messages that one call could take. */
static void some_fit(void) {
  int pair[2], file = new_file(), received = 0;
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < 20; i++)
    EQUAL(send_message(pair[0], 1, &file, 1), 1);
  limit_table(64);
  int count = fill_table(filler);
  for (int i = 0; i < 7; i++)
    EQUAL(fdp_close(filler[--count]), 0);
  int result;
  while ((result = receive(pair[1], FDP_MAX_MESSAGES, 100, 1)) > 0)
    for (int i = 0; i < result; i++, received++) {
      EQUAL(in.count[i], 1);
      filler[count++] = in.fd[i];
    }
  EQUAL(result, -EMFILE);
  EQUAL(received, 7);
  close_all(filler, count);
  while (receive(pair[1], 1, 1, 1) == 1) {
    received++;
    EQUAL(fdp_close(in.fd[0]), 0);
  }
  EQUAL(received, 20);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

/* ---- other threads, which take slots at any moment ----------------------------------------------------------------
 */

static atomic_int racing;

static void *take_slots(void *argument) {
  (void)argument;
  while (atomic_load(&racing)) {
    int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0)
      close(fd);
  }
  return NULL;
}

enum { THREADS = 3 };
struct loss {
  int received, told, refused;
};

/* Sends and receives one at a time, with `room` slots for all. */
static struct loss race(int limit, int room, int messages) {
  pthread_t thread[THREADS];
  int pair[2], file = new_file();
  struct loss loss = {0, 0, 0};
  make_pair(FDP_STREAM, pair);
  limit_table(limit);
  int count = fill_table(filler);
  for (int i = 0; i < room; i++)
    EQUAL(fdp_close(filler[--count]), 0);
  atomic_store(&racing, 1);
  for (int i = 0; i < THREADS; i++)
    EQUAL(pthread_create(&thread[i], NULL, take_slots, NULL), 0);
  for (int i = 0; i < messages; i++) {
    EQUAL(send_message(pair[0], 1, &file, 1), 1);
    int result;
    while ((result = receive(pair[1], 1, 1, 1)) == -EMFILE)
      loss.refused++;
    if (result == 1) {
      EQUAL(in.count[0], 1);
      CHECK(is_same(in.fd[0], file));
      EQUAL(fdp_close(in.fd[0]), 0);
      loss.received++;
    } else {
      EQUAL(result, -EIO);
      loss.told++;
    }
    EQUAL(fdp_pending(pair[1]), -EAGAIN);
  }
  atomic_store(&racing, 0);
  for (int i = 0; i < THREADS; i++)
    pthread_join(thread[i], NULL);
  close_all(filler, count);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
  return loss;
}

/* FDPASSER_RACE says how many messages; by default few. */
static int race_length(void) {
  const char *length = getenv("FDPASSER_RACE");
  return length ? atoi(length) : 2000;
}

static void show(const char *what, struct loss loss, int messages) {
  printf("# %s: %d of %d descriptors lost; the receive was refused %d times\n", what, messages - loss.received,
         messages, loss.refused);
}

static void race_for_the_last_slots(void) {
  int messages = race_length();
  struct loss loss = race(64, THREADS - 1, messages);
  show("for the last slots", loss, messages);
  EQUAL(loss.received + loss.told, messages);
  if (FDP_PEEK)
    EQUAL(loss.told, 0);
}

#if !FDP_PEEK

static void race_in_a_roomy_table(void) {
  int messages = race_length(), enough = fdp_most + 16 + THREADS;
  struct loss loss = race(1300, enough, messages);
  show("in a table of 1300 slots", loss, messages);
  EQUAL(loss.received, messages);
}

static void needs_room_for_any_message(void) {
  int pair[2], file = new_file();
  make_pair(FDP_STREAM, pair);
  EQUAL(send_message(pair[0], 1, &file, 1), 1);
  limit_table(1300);
  int count = fill_table(filler);
  for (int i = 0; i < fdp_most; i++)
    EQUAL(fdp_close(filler[--count]), 0);
  EQUAL(receive(pair[1], 1, 1, 1), -EMFILE); /* other threads might take some */
  for (int i = 0; i < 16; i++)
    EQUAL(fdp_close(filler[--count]), 0);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  CHECK(is_same(in.fd[0], file));
  EQUAL(fdp_close(in.fd[0]), 0);
  close_all(filler, count);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

static void loss_is_told(void) {
  int pair[2], files[MANY], count = send_many(pair, files);
  for (int i = 0; i < 5; i++)
    EQUAL(fdp_close(filler[--count]), 0);
  int before = open_count();
  EQUAL(receive(pair[1], 1, 1, 1), -EIO); /* it expected one */
  EQUAL(open_count(), before);
  close_all(filler, count);
  close_all(files, MANY);
  close_all(pair, 2);
}

#endif
#endif

const struct test full_tests[] = {
    {"with a full table a message stays in the kernel until there is a slot, and sending works",
     stays_until_there_is_room},
#ifndef FDP_SYSV
    {"a message stays whole until there are slots for all of it", many_stay_whole},
#if FDP_PEEK
    {"a message with more descriptors than the caller has room for stays whole", more_than_asked_stays},
#endif
    {"as many messages arrive as there are slots, and the others later", some_fit},
    {"no loss is silent while threads race for the last slots", race_for_the_last_slots},
#if !FDP_PEEK
    {"nothing is lost to racing threads in a table that has room", race_in_a_roomy_table},
    {"in a large table a receive needs room for the largest message and for other threads", needs_room_for_any_message},
    {"a message that brings more than a small table has room for is EIO, and leaves nothing open", loss_is_told},
#endif
#endif
    {0}};
