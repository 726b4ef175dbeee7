/* Closing what a peer has made slow to close. A test that waits for one of these closes is ended by its alarm. */
#include "contract.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINGER = 10000 };       /* seconds */
enum { KEEPER = FDP_LANDING }; /* a thread that stays */

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

/* A sanitizer adds a thread of its own when the first thread is started. */
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
  UNTIL(fdp_check(fd) == -EBADF);
  CHECK(threads() > before); /* of which one waits */
  EQUAL(close(other), 0);
  UNTIL(threads() <= before + KEEPER);
}

static void trusts_none_to_linger(void) {
  int other, before = usual_threads(), fd = lingering(&other);
  fdp_set_origin(fd, FDP_TRUSTED);
  EQUAL(fdp_close(fd), 0);
  UNTIL(fdp_check(fd) == -EBADF);
  EQUAL(fdp_origin_of(fd), 0);
  EQUAL(close(other), 0);
  UNTIL(threads() <= before + KEEPER);
}

static void goes_on_elsewhere_among_others(void) {
  int other, before = usual_threads(), file = new_file(), row[5];
  for (int i = 0; i < 5; i++)
    row[i] = i == 2 ? lingering(&other) : fdp_dup(file);
  fdp_close_all(row, 5);
  for (int i = 0; i < 5; i++)
    UNTIL(fdp_check(row[i]) == -EBADF);
  EQUAL(close(other), 0);
  UNTIL(threads() <= before + KEEPER);
  EQUAL(fdp_close(file), 0);
}

/* As by a limit of the user's processes, which does not apply to root. */
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

/* A Unix socket that holds a lingering connection, behind this many empty packets and with this many bytes. */
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
          UNTIL(fdp_check(fd) == -EBADF);
          EQUAL(close(other), 0);
          if (!ended)
            EQUAL(fdp_close(peer), 0);
        }
  UNTIL(threads() <= before + KEEPER);
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
  EQUAL(close(other), 0);
  UNTIL(threads() <= before + KEEPER);
  EQUAL(fdp_close(client), 0);
  EQUAL(unlink(path), 0);
  path[20] = 0;
  EQUAL(rmdir(path), 0);
}

#if !FDP_PEEK && defined(FDP_BSD44)

/* Where a receive cannot be undone, descriptors that came with a lost one are closed. */
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
  EQUAL(close(other), 0);
  UNTIL(threads() <= before + KEEPER);
  EQUAL(fdp_close(fds[1]), 0);
  close_all(pair, 2);
}

#endif

#if FDP_LANDING

/* Notes that the number came from a peer, as for one that was received. */
static int from(fdp_origin origin, int fd) {
  fdp_set_origin(fd, origin);
  return fd;
}

/* Whether the other end has been closed for good. */
static int is_over(int socket) { return fdp_pending(socket) == 0; }

static void one_peer_delays_itself_alone(void) {
  enum { CONNECTIONS = 20, SOCKETS = 600 };
  int before = usual_threads(), other[CONNECTIONS], pair[2];
  const fdp_origin bad = fdp_new_origin(), good = fdp_new_origin();
  for (int i = 0; i < CONNECTIONS; i++) {
    int fd = from(bad, lingering(&other[i]));
    EQUAL(fdp_close(fd), 0);
    EQUAL(fdp_check(fd), -EBADF);
  }
  for (int i = 0; i < SOCKETS; i++) { /* each with a descriptor in it */
    int file = new_file();
    make_pair(FDP_STREAM, pair);
    EQUAL(send_message(pair[1], 1, &file, 1), 1);
    EQUAL(close(file), 0);
    from(bad, pair[0]);
    EQUAL(fdp_close(pair[0]), 0);
    EQUAL(fdp_check(pair[0]), -EBADF);
    EQUAL(close(pair[1]), 0);
  }
  CHECK(threads() <= before + KEEPER + 2); /* one that waits, and one that would serve others */
  make_pair(FDP_STREAM, pair);
  from(good, pair[0]);
  EQUAL(fdp_close(pair[0]), 0);
  UNTIL(is_over(pair[1]));
  EQUAL(close(pair[1]), 0);
  for (int i = 0; i < CONNECTIONS; i++)
    EQUAL(close(other[i]), 0);
  UNTIL(threads() <= before + KEEPER);
}

static void many_peers_delay_nobody_else(void) {
  enum { PEERS = 80, EXTRA = 4, LIMIT = 512 };
  int before = usual_threads(), other[PEERS + EXTRA], slow[PEERS + EXTRA], end[2], pair[2];
  fdp_origin bad[PEERS];
  EQUAL(pipe(end), 0);
  for (int i = 0; i < PEERS + EXTRA; i++)
    slow[i] = lingering(&other[i]);
  limit_table(LIMIT); /* in which not every peer has a place */
  for (int i = 0; i < PEERS; i++) {
    bad[i] = fdp_new_origin();
    EQUAL(fdp_close(from(bad[i], slow[i])), 0);
    UNTIL(threads() > before + KEEPER + i);
  }
  for (int i = 0; i < PEERS; i++) { /* behind that */
    EQUAL(fdp_close(from(bad[i], i < PEERS - EXTRA ? fdp_dup(end[0]) : slow[i + EXTRA])), 0);
    pause_briefly(); /* what finds the keeper busy is closed in another way */
  }
  make_pair(FDP_STREAM, pair);
  EQUAL(fdp_close(from(fdp_new_origin(), pair[0])), 0);
  UNTIL(is_over(pair[1]));
  EQUAL(close(pair[1]), 0);
  close_all(other, PEERS + EXTRA);
  close_all(end, 2);
  UNTIL(threads() <= before + KEEPER);
}

static atomic_int stop;

static void *make_it_linger(void *socket) {
  const struct linger linger = {1, LINGER};
  while (!atomic_load(&stop))
    setsockopt(*(int *)socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  return NULL;
}

/* A close that asks first, when the answer changes before it closes. The alarm ends it. */
static void ask_first(int other) {
  const struct linger off = {0, 0}, on = {1, LINGER};
  struct linger linger;
  socklen_t length = sizeof linger;
  int fd = lingering(&other), shared = dup(fd);
  EQUAL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off), 0);
  EQUAL(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length), 0);
  EQUAL(setsockopt(shared, SOL_SOCKET, SO_LINGER, &on, sizeof on), 0);
  EQUAL(close(shared), 0);
  alarm(1);
  if (linger.l_onoff == 0)
    close(fd);
}

static void asks_nothing_that_can_change(void) {
  enum { ROUNDS = 50 };
  const struct linger off = {0, 0};
  const fdp_origin origin = fdp_new_origin();
  int other[ROUNDS], status, before = usual_threads();
  pid_t pid = fork_child(ask_first, 0);
  EQUAL(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
  for (int i = 0; i < ROUNDS; i++) {
    pthread_t thread;
    int fd = lingering(&other[i]), shared = dup(fd);
    EQUAL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off), 0);
    atomic_store(&stop, 0);
    EQUAL(pthread_create(&thread, NULL, make_it_linger, &shared), 0);
    EQUAL(fdp_close(from(origin, fd)), 0);
    atomic_store(&stop, 1);
    EQUAL(pthread_join(thread, NULL), 0);
    EQUAL(fdp_close(from(origin, shared)), 0);
  }
  for (int i = 0; i < ROUNDS; i++)
    EQUAL(close(other[i]), 0);
  UNTIL(threads() <= before + KEEPER);
}

static int new_watch(void) {
  int fd = inotify_init1(IN_CLOEXEC);
  CHECK(fd >= 0 && inotify_add_watch(fd, "/tmp", IN_ATTRIB) >= 0);
  return fd;
}

/* How often this thread has waited. */
static long waits(void) {
  struct rusage usage;
  EQUAL(getrusage(RUSAGE_THREAD, &usage), 0);
  return usage.ru_nvcsw;
}

/* Their release waits until every processor has passed a quiet point. */
static void waits_for_no_grace_period(void) {
  enum { COUNT = 50 };
  int fd[COUNT];
  long asked, plain = 0, ours = 0;
  const fdp_origin origin = fdp_new_origin();
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < COUNT; i++)
      fd[i] = new_watch();
    asked = waits();
    for (int i = 0; i < COUNT; i++)
      EQUAL(round ? fdp_close(from(origin, fd[i])) : close(fd[i]), 0);
    *(round ? &ours : &plain) = waits() - asked;
  }
  if (ours > plain / 2)
    printf("# close(2) waited %ld times, this %ld\n", plain, ours);
  CHECK(ours <= plain / 2);
}

static void frees_the_name_of_a_listener(void) {
  char name[32] = ""; /* an abstract one, and of this process: others run the same test at the same time */
  snprintf(name + 1, sizeof name - 1, "fdpasser %d", getpid());
  const enum fdp_type types[] = {FDP_STREAM, FDP_SEQPACKET, FDP_DGRAM};
  for (int t = 0; t < 3; t++) {
    int other, before = usual_threads(), fd = lingering(&other), again;
    int listener = fdp_listen(types[t], name, sizeof name, 0600, 5);
    int client = fdp_connect(types[t], name, sizeof name);
    CHECK(listener >= 0 && client >= 0);
    EQUAL(send_message(client, 1, &fd, 1), 1);
    EQUAL(close(fd), 0);
    EQUAL(fdp_close_alone(listener), 0);
    again = fdp_listen(types[t], name, sizeof name, 0600, 5);
    CHECK(again >= 0);
    EQUAL(fdp_close_alone(again), 0);
    EQUAL(fdp_close(client), 0);
    EQUAL(close(other), 0);
    UNTIL(threads() <= before + KEEPER);
  }
}

/* The peer of a connection that nobody else has sees its end at once. The close does not wait for what comes
 * meanwhile. */
static void ends_at_once_what_nobody_else_has(void) {
  const enum fdp_type types[] = {FDP_STREAM, FDP_SEQPACKET};
  for (int t = 0; t < 2; t++) {
    int pair[2];
    make_pair(types[t], pair);
    fdp_set_origin_through(pair[0], fdp_new_origin());
    EQUAL(fdp_close_alone(pair[0]), 0);
    EQUAL(fdp_check(pair[0]), -EBADF);
    CHECK(is_over(pair[1]));
    EQUAL(send_message(pair[1], 1, NULL, 0), -EPIPE);
    EQUAL(close(pair[1]), 0);
  }
}

static void takes_no_more_than_is_closed(void) {
  int other, file = new_file(), before = usual_threads();
  const fdp_origin origin = fdp_new_origin();
  EQUAL(fdp_close(from(origin, lingering(&other))), 0);
  for (int i = 0; !fdp_is_crowded(origin); i++) {
    CHECK(i < 100000);
    EQUAL(fdp_close(from(origin, fdp_dup(file))), 0);
  }
  CHECK(!fdp_is_crowded(fdp_new_origin()));
  EQUAL(close(other), 0);
  UNTIL(!fdp_is_crowded(origin));
  EQUAL(close(file), 0);
  UNTIL(threads() <= before + KEEPER);
}

/* The kernel limits descriptors in flight by the limit of the table, except for root. */
static void none_is_lost_where_few_can_be_in_flight(void) {
  enum { PAIRS = 40, LIMIT = 128 };
  struct rlimit limit = {LIMIT, LIMIT};
  int pair[PAIRS][2], other, pass[2], file = new_file(), before = usual_threads();
  const fdp_origin origin = fdp_new_origin();
  if (getuid() == 0)
    EQUAL(setuid(65534), 0);
  EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
  int slow = from(origin, lingering(&other));
  for (int i = 0; i < PAIRS; i++)
    make_pair(FDP_STREAM, pair[i]);
  make_pair(FDP_STREAM, pass);
  while (send_message(pass[1], 1, &file, 1) == 1)
    ; /* until no more can be in flight */
  EQUAL(fdp_close(slow), 0);
  for (int i = 0; i < PAIRS; i++)
    EQUAL(fdp_close(from(origin, pair[i][0])), 0);
  EQUAL(close(other), 0);
  for (int i = 0; i < PAIRS; i++) {
    UNTIL(is_over(pair[i][1]));
    EQUAL(close(pair[i][1]), 0);
  }
  close_all(pass, 2);
  EQUAL(fdp_close(file), 0);
  UNTIL(threads() <= before + KEEPER);
}

/* The processor time of this thread, in milliseconds, however busy the others are. */
static double worked(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void a_pile_of_memory(void) {
  enum { PAGES = 1 << 16, PAGE = 4096 }; /* 256 MiB */
  int fd[2];
  double time[2];
  const fdp_origin origin = fdp_new_origin();
  EQUAL(fdp_close(from(origin, new_file())), 0); /* this starts the threads */
  for (int i = 0; i < 2; i++) {
    fd[i] = new_file();
    EQUAL(fallocate(fd[i], 0, 0, (off_t)PAGES * PAGE), 0);
    time[i] = worked();
    EQUAL(i ? fdp_close(from(origin, fd[i])) : close(fd[i]), 0);
    time[i] = worked() - time[i];
  }
  if (time[1] > time[0] / 2)
    printf("# %.1f ms by close(2), %.1f ms here\n", time[0], time[1]);
  CHECK(time[1] <= time[0] / 2);
}

#endif
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

static void forgets_whom_it_trusted(void) {
  int fd = new_file();
  fdp_set_origin(fd, FDP_TRUSTED);
  EQUAL(fdp_origin_of(fd), FDP_TRUSTED);
  EQUAL(fdp_close(fd), 0);
  EQUAL(fdp_check(fd), -EBADF);
  EQUAL(fdp_origin_of(fd), 0);
}

const struct test closing_tests[] = {
    {"what trusted processes have is closed here, and the number is trusted no more", forgets_whom_it_trusted},
    {"where no thread can be started, a connection is closed without lingering", without_a_thread},
#ifndef FDP_SYSV
    {"a socket in which no descriptor lies is closed without a thread, also when its peer has gone",
     no_thread_for_what_is_not_slow},
#endif
    {0}};

const struct test slow_close_tests[] = {
    {"a close that lingers goes on elsewhere", goes_on_elsewhere},
    {"so does one that trusted processes have", trusts_none_to_linger},
    {"of many that are closed at once, the one that lingers is closed elsewhere", goes_on_elsewhere_among_others},
#if !defined(FDP_SYSV) && !FDP_HOLD
    {"nor does closing a socket wait for what lies unread in it, with bytes or without", does_not_wait_for_unread},
    {"nor does closing a listener wait for what its backlog was sent", does_not_wait_for_backlog},
#if !FDP_PEEK && defined(FDP_BSD44)
    {"nor does a receive that lost part of a message wait for the rest", does_not_wait_for_part_of_a_message},
#endif
#if FDP_LANDING
    {"what one peer makes slow takes one thread and no number, and delays nobody else", one_peer_delays_itself_alone},
    {"more peers than have a place delay nobody else either", many_peers_delay_nobody_else},
    {"a peer that makes it slow between a question and the close delays nobody", asks_nothing_that_can_change},
    {"nor does the close of what waits for every processor", waits_for_no_grace_period},
    {"nor that of a lot of memory", a_pile_of_memory},
    {"a listener's name is free at once, whatever lies in its backlog", frees_the_name_of_a_listener},
    {"the peer of a connection that nobody else has hears of the end at once", ends_at_once_what_nobody_else_has},
    {"nothing more is taken of a peer with much that waits to be closed", takes_no_more_than_is_closed},
    {"where few descriptors can be in flight, all are closed all the same", none_is_lost_where_few_can_be_in_flight},
#endif
#endif
    {0}};
