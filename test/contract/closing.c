/* Closing what a peer has made slow to close. Who waits for one of these closes is ended by the test's alarm. */
#include "contract.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER = 10000 }; /* seconds */

/* A connection whose last close waits until the other end has read everything, or is closed. */
static int lingering(int *other) {
  struct linger linger = {1, LINGER};
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  static const char bytes[1 << 14];
  int small = 1, fd = socket(AF_INET, SOCK_STREAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);
  EQUAL(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  EQUAL(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  EQUAL(bind(listener, (struct sockaddr *)&at, length), 0);
  EQUAL(listen(listener, 1), 0);
  EQUAL(getsockname(listener, (struct sockaddr *)&at, &length), 0);
  EQUAL(connect(fd, (struct sockaddr *)&at, length), 0);
  *other = accept(listener, NULL, NULL);
  CHECK(*other >= 0);
  EQUAL(close(listener), 0);
  while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
    ;
  EQUAL(errno, EAGAIN);
  EQUAL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
  return fd;
}

static int threads(void) {
  int count = 0;
  DIR *tasks = opendir("/proc/self/task");
  CHECK(tasks != NULL);
  while (readdir(tasks))
    count++;
  closedir(tasks);
  return count - 2; /* the folder itself, and the one above */
}

static void *tell_id(void *id) {
  *(pid_t *)id = gettid();
  return NULL;
}

/* A sanitizer adds one of its own to the first that is started. */
static int usual_threads(void) {
  pthread_t thread;
  pid_t id;
  char path[40];
  EQUAL(pthread_create(&thread, NULL, tell_id, &id), 0);
  EQUAL(pthread_join(thread, NULL), 0);
  snprintf(path, sizeof path, "/proc/self/task/%d", id);
  UNTIL(access(path, F_OK));
  return threads();
}

static void goes_on_elsewhere(void) {
  int other, before = usual_threads(), fd = lingering(&other);
  EQUAL(fdp_close(fd), 0);
  EQUAL(threads(), before + 1); /* which waits */
  EQUAL(close(other), 0);
  UNTIL(threads() == before);
}

static void goes_on_elsewhere_among_others(void) {
  int other, before = usual_threads(), file = new_file(), row[5];
  for (int i = 0; i < 5; i++)
    row[i] = i == 2 ? lingering(&other) : fdp_dup(file);
  fdp_close_all(row, 5);
  for (int i = 0; i < 5; i++)
    if (i != 2)
      EQUAL(fdp_check(row[i]), -EBADF);
  EQUAL(threads(), before + 1);
  EQUAL(close(other), 0);
  UNTIL(threads() == before);
  EQUAL(fdp_close(file), 0);
}

/* As by a limit of the user's processes, which root has not. */
static void without_a_thread(void) {
  struct rlimit limit = {1, 1};
  int other, fd = lingering(&other);
  if (getuid() == 0)
    EQUAL(setuid(65534), 0);
  EQUAL(setrlimit(RLIMIT_NPROC, &limit), 0);
  EQUAL(fdp_close(fd), 0);
  EQUAL(fdp_check(fd), -EBADF);
  EQUAL(close(other), 0);
}

#if !defined(FDP_SYSV) && !FDP_HOLD /* whoever holds sockets in flight keeps the connection open */

/* A Unix socket in which a connection lies that lingers: behind so many empty packets, with so many bytes. */
static int with_unread(enum fdp_type type, int empty, int size, int *peer, int *other) {
  int pair[2], fd = lingering(other);
  make_pair(type, pair);
  for (int i = 0; i < empty; i++)
    EQUAL(send_message(pair[0], 0, NULL, 0), 1);
  EQUAL(send_message(pair[0], size, &fd, 1), 1);
  EQUAL(close(fd), 0);
  *peer = pair[0];
  return pair[1];
}

static void does_not_wait_for_unread(void) {
  const enum fdp_type types[] = {FDP_STREAM, FDP_SEQPACKET, FDP_DGRAM};
  int before = usual_threads();
  for (int t = 0; t < 3; t++)
    for (int ended = 0; ended < 2; ended++)
      for (int size = types[t] == FDP_STREAM; size < 2; size++)
        for (int empty = 0; empty < (types[t] == FDP_STREAM ? 1 : 3); empty++) {
          int peer, other, fd = with_unread(types[t], empty, size, &peer, &other);
          if (ended)
            EQUAL(fdp_close(peer), 0);
          EQUAL(fdp_close(fd), 0);
          EQUAL(threads(), before + 1);
          EQUAL(close(other), 0);
          UNTIL(threads() == before);
          if (!ended)
            EQUAL(fdp_close(peer), 0);
        }
}

static void does_not_wait_for_backlog(void) {
  char path[] = "/tmp/contract-XXXXXX/socket";
  path[20] = 0;
  CHECK(mkdtemp(path) != NULL);
  path[20] = '/';
  int other, before = usual_threads(), fd = lingering(&other);
  int listener = fdp_listen(FDP_STREAM, path, sizeof path, 0600, 5);
  int client = fdp_connect(FDP_STREAM, path, sizeof path);
  CHECK(listener >= 0 && client >= 0);
  EQUAL(send_message(client, 1, &fd, 1), 1);
  EQUAL(close(fd), 0);
  EQUAL(fdp_close(listener), 0);
  EQUAL(threads(), before + 1);
  EQUAL(close(other), 0);
  UNTIL(threads() == before);
  EQUAL(fdp_close(client), 0);
  EQUAL(unlink(path), 0);
  path[20] = 0;
  EQUAL(rmdir(path), 0);
}

#if !FDP_PEEK && defined(FDP_BSD44)

/* Where a receive cannot be taken back, what a message brought beside what was lost is closed. */
static void does_not_wait_for_part_of_a_message(void) {
  static int filler[MOST_OPEN];
  int pair[2], other, before = usual_threads(), fds[] = {lingering(&other), new_file()};
  make_pair(FDP_STREAM, pair);
  EQUAL(send_message(pair[0], 1, fds, 2), 1);
  EQUAL(close(fds[0]), 0);
  limit_table(200);
  int count = fill_table(filler);
  EQUAL(fdp_close(filler[--count]), 0);
  EQUAL(receive(pair[1], 1, 1, 1), -EIO);
  close_all(filler, count);
  EQUAL(threads(), before + 1);
  EQUAL(close(other), 0);
  UNTIL(threads() == before);
  EQUAL(fdp_close(fds[1]), 0);
  close_all(pair, 2);
}

#endif

/* However many a peer sends. */
static void threads_are_bounded(void) {
  enum { CONNECTIONS = FDP_MOST_CLOSERS + 4, SOCKETS = 4 };
  int before = usual_threads(), other[CONNECTIONS], peer[SOCKETS], slow[SOCKETS], unread[SOCKETS];
  for (int i = 0; i < SOCKETS; i++)
    unread[i] = with_unread(FDP_STREAM, 0, 1, &peer[i], &slow[i]);
  for (int i = 0; i < CONNECTIONS; i++) {
    int fd = lingering(&other[i]);
    EQUAL(fdp_close(fd), 0);
    UNTIL(fdp_check(fd) == -EBADF);
  }
  EQUAL(threads(), before + FDP_MOST_CLOSERS);
  fdp_close_all(unread, SOCKETS);
  EQUAL(threads(), before + FDP_MOST_CLOSERS);
  for (int i = 0; i < SOCKETS; i++)
    EQUAL(fdp_check(unread[i]), 0);
  for (int i = 0; i < CONNECTIONS; i++)
    EQUAL(close(other[i]), 0);
  for (int i = 0; i < SOCKETS; i++)
    EQUAL(close(slow[i]), 0);
  UNTIL(threads() == before);
  for (int i = 0; i < SOCKETS; i++)
    EQUAL(fdp_check(unread[i]), -EBADF);
  close_all(peer, SOCKETS);
}

#endif
#ifndef FDP_SYSV

/* The number is free when the call returns: no thread was needed. */
static void no_thread_for_what_is_not_slow(void) {
  const enum fdp_type types[] = {FDP_STREAM, FDP_SEQPACKET, FDP_DGRAM};
  for (int t = 0; t < 3; t++)
    for (int ended = 0; ended < 2; ended++)
      for (int unread = 0; unread < 2; unread++) {
        int pair[2], file = new_file();
        make_pair(types[t], pair);
        EQUAL(send_message(pair[0], 1, &file, 1), 1);
        EQUAL(receive(pair[1], 1, 1, 1), 1);
        if (unread)
          EQUAL(send_message(pair[0], types[t] == FDP_STREAM, NULL, 0), 1);
        if (ended)
          EQUAL(fdp_close(pair[0]), 0);
        EQUAL(fdp_close(pair[1]), 0);
        EQUAL(fdp_check(pair[1]), -EBADF);
        EQUAL(fdp_close(in.fd[0]), 0);
        EQUAL(fdp_close(file), 0);
        if (!ended)
          EQUAL(fdp_close(pair[0]), 0);
      }
}

#endif

const struct test closing_tests[] = {
    {"where no thread can be started, a connection is closed without lingering", without_a_thread},
#ifndef FDP_SYSV
    {"a socket in which no descriptor lies is closed without a thread, also when its peer has gone",
     no_thread_for_what_is_not_slow},
#endif
    {0}};

const struct test slow_close_tests[] = {
    {"a close that lingers goes on elsewhere", goes_on_elsewhere},
    {"of many that are closed at once, the one that lingers is closed elsewhere", goes_on_elsewhere_among_others},
#if !defined(FDP_SYSV) && !FDP_HOLD
    {"nor does closing a socket wait for what lies unread in it, with bytes or without", does_not_wait_for_unread},
    {"nor does closing a listener wait for what its backlog was sent", does_not_wait_for_backlog},
#if !FDP_PEEK && defined(FDP_BSD44)
    {"nor does a receive that lost part of a message wait for the rest", does_not_wait_for_part_of_a_message},
#endif
    {"however much is slow to close, a few threads wait for it", threads_are_bounded},
#endif
    {0}};
