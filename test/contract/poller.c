/* The poller that has a thread. It is of no interface, so one build tests it. */
#include "contract.h"

#if FDP_PEEK

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Takes the place of JavaScript: a thread that waits to be woken. */
struct environment {
  struct fdp_mailbox *mailbox;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int woken, held;
};

static void wake(void *data) {
  struct environment *environment = data;
  pthread_mutex_lock(&environment->lock);
  environment->woken = 1;
  pthread_cond_signal(&environment->changed);
  pthread_mutex_unlock(&environment->lock);
}

static void hold(void *data, int flag) {
  struct environment *environment = data;
  EQUAL(environment->held, !flag); /* told of changes alone */
  environment->held = flag;
}

static void open_environment(struct environment *environment) {
  struct fdp_mailbox_owner owner = {wake, hold, environment};
  *environment = (struct environment){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  EQUAL(fdp_mailbox_open(&owner, &environment->mailbox), 0);
}

/* Waits until the poller has something. */
static void wait_for(struct environment *environment) {
  pthread_mutex_lock(&environment->lock);
  while (!environment->woken)
    pthread_cond_wait(&environment->changed, &environment->lock);
  pthread_mutex_unlock(&environment->lock);
}

/* Has it reported then. */
static void turn(struct environment *environment) {
  wait_for(environment);
  pthread_mutex_lock(&environment->lock);
  environment->woken = 0;
  pthread_mutex_unlock(&environment->lock);
  fdp_mailbox_deliver(environment->mailbox);
}

static struct environment here;
static int source; /* of the poller, whose thread never ends */

static void begin(void) {
  source = fdp_dup(0); /* the number that is next */
  EQUAL(fdp_close(source), 0);
  open_environment(&here);
  EQUAL(fdp_kind(source), FDP_ANONYMOUS);
}

static void end(void) {
  EQUAL(here.held, 0);
  fdp_mailbox_close(here.mailbox);
  /* Not by the library's close: a sanitizer would call that a race with the thread, which waits there. */
  EQUAL(syscall(SYS_close, source), 0);
}

/* ---- one thread -------------------------------------------------------------------------------------------------- */

struct watch {
  struct fdp_watcher *watcher;
  int fd, times, last, gone;
  struct watch *closes; /* when it is told */
};

static void on_gone(void *data) { ((struct watch *)data)->gone = 1; }

static void stop(struct watch *watch) {
  fdp_thread_poller.close(watch->watcher, on_gone);
  EQUAL(watch->gone, 1);
  watch->watcher = NULL;
}

static void on_ready(struct fdp_watcher *watcher, void *data, int events) {
  struct watch *watch = data;
  CHECK(watcher == watch->watcher);
  watch->times++;
  watch->last = events;
  if (watch->closes)
    stop(watch->closes);
}

static void start(struct watch *watch, int fd) {
  *watch = (struct watch){.fd = fd};
  EQUAL(fdp_thread_poller.open(here.mailbox, fd, on_ready, watch, &watch->watcher), 0);
}

static void set(const struct watch *watch, int events) { EQUAL(fdp_thread_poller.set(watch->watcher, events), 0); }

static void tells_while_it_lasts(void) {
  begin();
  struct watch watch;
  int pair[2], other[2];
  make_pair(FDP_STREAM, pair);
  make_pair(FDP_STREAM, other);
  start(&watch, pair[0]);
  EQUAL(write(pair[1], "x", 1), 1); /* nobody has asked */
  set(&watch, FDP_READABLE);
  for (int i = 1; i < 4; i++) {
    turn(&here);
    EQUAL(watch.times, i);
    EQUAL(watch.last, FDP_READABLE);
  }
  set(&watch, FDP_READABLE | FDP_WRITABLE);
  while (watch.last != (FDP_READABLE | FDP_WRITABLE))
    turn(&here);
  set(&watch, FDP_WRITABLE);
  do
    turn(&here);
  while (watch.last != FDP_WRITABLE);
  set(&watch, 0);
  int times = watch.times;
  /* An event of another watcher comes after all pending events of this one. */
  struct watch after;
  start(&after, other[0]);
  set(&after, FDP_WRITABLE);
  while (after.times < 3)
    turn(&here);
  EQUAL(watch.times, times);
  stop(&after);
  stop(&watch);
  close_all(pair, 2);
  close_all(other, 2);
  end();
}

static void tells_the_end(void) {
  begin();
  struct watch watch;
  int pair[2];
  make_pair(FDP_STREAM, pair);
  start(&watch, pair[0]);
  set(&watch, FDP_READABLE);
  EQUAL(fdp_close(pair[1]), 0);
  turn(&here);
  EQUAL(watch.last, FDP_READABLE);
  stop(&watch);
  EQUAL(fdp_close(pair[0]), 0);
  end();
}

/* A peer that closes with something unread leaves an error. */
static void an_error_ends_the_watch(void) {
  begin();
  struct watch watch;
  int pair[2];
  make_pair(FDP_STREAM, pair);
  start(&watch, pair[0]);
  fdp_thread_poller.keep_alive(watch.watcher, 1);
  EQUAL(here.held, 0); /* it waits for nothing */
  set(&watch, FDP_READABLE);
  EQUAL(here.held, 1);
  EQUAL(write(pair[0], "x", 1), 1);
  EQUAL(fdp_close(pair[1]), 0);
  turn(&here);
  EQUAL(watch.last, FDP_READABLE | FDP_WRITABLE | FDP_STOPPED);
  EQUAL(here.held, 0);
  set(&watch, FDP_READABLE);
  EQUAL(here.held, 1);
  turn(&here);
  EQUAL(watch.times, 2);
  stop(&watch);
  EQUAL(fdp_close(pair[0]), 0);
  end();
}

static void what_cannot_be_watched(void) {
  begin();
  struct watch watch;
  struct fdp_watcher *none;
  int pair[2], file = new_file();
  make_pair(FDP_STREAM, pair);
  start(&watch, pair[0]);
  EQUAL(fdp_thread_poller.open(here.mailbox, pair[0], on_ready, NULL, &none), -EEXIST);
  EQUAL(fdp_thread_poller.open(here.mailbox, file, on_ready, NULL, &none), -EPERM);
  EQUAL(fdp_thread_poller.open(here.mailbox, -1, on_ready, NULL, &none), -EBADF);
  EQUAL(fdp_thread_poller.open(here.mailbox, 1000, on_ready, NULL, &none), -EBADF);
  stop(&watch);
  start(&watch, pair[0]); /* again */
  stop(&watch);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
  end();
}

/* Both are reported in one turn. The first one closes the other, or itself. */
static void closed_while_told(void) {
  begin();
  for (int itself = 0; itself < 2; itself++) {
    struct watch watch[2];
    int pair[2][2];
    for (int i = 0; i < 2; i++) {
      make_pair(FDP_STREAM, pair[i]);
      start(&watch[i], pair[i][0]);
    }
    for (int i = 0; i < 2; i++)
      watch[i].closes = &watch[itself ? i : 1 - i];
    for (int i = 0; i < 2; i++)
      set(&watch[i], FDP_WRITABLE);
    while (watch[0].times + watch[1].times < 1 + itself)
      turn(&here);
    for (int i = 0; i < 2; i++) {
      EQUAL(watch[i].times, itself || watch[i].watcher ? 1 : 0);
      watch[i].closes = NULL;
      if (watch[i].watcher)
        stop(&watch[i]);
      close_all(pair[i], 2);
    }
  }
  end();
}

/* An event of a number is not reported to the next watcher of that number. */
static void numbers_used_again(void) {
  begin();
  for (int i = 0; i < 300; i++) {
    struct watch old, young;
    int pair[2], next[2];
    make_pair(FDP_STREAM, pair);
    start(&old, pair[0]);
    set(&old, FDP_WRITABLE);
    if (i % 2)
      pause_briefly(); /* it is queued, most likely */
    stop(&old);
    close_all(pair, 2);
    make_pair(FDP_STREAM, next);
    EQUAL(next[0], pair[0]);
    start(&young, next[0]);
    set(&young, FDP_READABLE);
    EQUAL(write(next[1], "x", 1), 1);
    while (!young.times)
      turn(&here);
    EQUAL(young.last, FDP_READABLE);
    EQUAL(young.times, 1);
    EQUAL(old.times, 0);
    stop(&young);
    close_all(next, 2);
  }
  end();
}

/* A number that was closed without its watcher's knowledge may rightly belong to another environment. */
static void numbers_taken_over(void) {
  begin();
  struct environment there;
  struct watch old, young = {0};
  int pair[2], next[2];
  open_environment(&there);
  make_pair(FDP_STREAM, pair);
  start(&old, pair[0]);
  set(&old, FDP_READABLE);
  EQUAL(fdp_thread_poller.open(there.mailbox, pair[0], on_ready, &young, &young.watcher), -EEXIST);
  EQUAL(write(pair[1], "x", 1), 1);
  wait_for(&here); /* it is queued */
  EQUAL(close(pair[0]), 0);
  EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, next), 0);
  EQUAL(next[0], pair[0]);
  EQUAL(fdp_thread_poller.open(there.mailbox, next[0], on_ready, &young, &young.watcher), 0);
  set(&young, FDP_READABLE);
  set(&old, FDP_READABLE | FDP_WRITABLE);
  turn(&here);
  EQUAL(old.times, 0);
  EQUAL(write(next[1], "x", 1), 1);
  turn(&there);
  EQUAL(young.times, 1);
  stop(&old);
  turn(&there); /* it lasts */
  EQUAL(young.times, 2);
  stop(&young);
  EQUAL(close(pair[1]), 0);
  close_all(next, 2);
  fdp_mailbox_close(there.mailbox);
  end();
}

/* ---- many threads ------------------------------------------------------------------------------------------------ */

enum { ENVIRONMENTS = 4, WRITERS = 2, AT_A_TIME = 20, MOST_BYTES = 5 };

/* Ends to write to, from the environments to the writers. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int fd[ENVIRONMENTS * AT_A_TIME], count, over;
} ends = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static atomic_long written, given_up;

struct reader {
  struct reading *of;
  struct fdp_watcher *watcher;
  int fd, calm, waits_to_write, gone;
};

struct reading {
  struct environment environment;
  struct reader reader[AT_A_TIME];
  unsigned seed;
  int left, open, stopped;
  long bytes;
};

static void on_reader_gone(void *data) { ((struct reader *)data)->gone = 1; }

static void end_reader(struct reader *reader) {
  fdp_thread_poller.close(reader->watcher, on_reader_gone);
  EQUAL(reader->gone, 1);
  EQUAL(close(reader->fd), 0); /* from here on another thread may have the number */
  reader->watcher = NULL;
  reader->of->open--;
}

static void on_reader_ready(struct fdp_watcher *watcher, void *data, int events) {
  struct reader *reader = data;
  char bytes[2];
  CHECK(watcher == reader->watcher);
  if (events & FDP_STOPPED)
    reader->of->stopped++;
  else if (!reader->waits_to_write)
    EQUAL(events, FDP_READABLE);
  reader->waits_to_write = 0;
  ssize_t length = recv(reader->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (length == 0 || (length < 0 && errno == ECONNRESET)) {
    end_reader(reader);
    return;
  }
  /* An event for the earlier owner of the number finds nothing to read. */
  CHECK(length > 0 || (errno == EAGAIN && !reader->calm));
  reader->of->bytes += length > 0 ? length : 0;
  switch (rand_r(&reader->of->seed) % 8) {
  case 0: /* to go, while more may be on its way */
    atomic_fetch_add(&given_up, 1);
    end_reader(reader);
    return;
  case 1: /* to write, whose readiness comes at once */
    reader->waits_to_write = 1;
    reader->calm = 0;
    EQUAL(fdp_thread_poller.set(watcher, FDP_READABLE | FDP_WRITABLE), 0);
    return;
  case 2: /* nothing, and at once again something */
    reader->calm = 0;
    EQUAL(fdp_thread_poller.set(watcher, 0), 0);
  }
  EQUAL(fdp_thread_poller.set(watcher, FDP_READABLE), 0);
}

static void begin_reader(struct reading *of, struct reader *reader) {
  int pair[2];
  EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  *reader = (struct reader){.of = of, .fd = pair[0], .calm = 1};
  EQUAL(fdp_thread_poller.open(of->environment.mailbox, pair[0], on_reader_ready, reader, &reader->watcher), 0);
  if (rand_r(&of->seed) % 4 == 0)
    EQUAL(write(pair[0], "x", 1), 1); /* the writer closes with something unread */
  fdp_thread_poller.keep_alive(reader->watcher, 1);
  EQUAL(fdp_thread_poller.set(reader->watcher, FDP_READABLE), 0);
  of->open++;
  pthread_mutex_lock(&ends.lock);
  ends.fd[ends.count++] = pair[1];
  pthread_cond_signal(&ends.changed);
  pthread_mutex_unlock(&ends.lock);
}

static void *read_all(void *data) {
  struct reading *of = data;
  open_environment(&of->environment);
  while (of->left > 0 || of->open > 0) {
    /* The writers may be behind: then there is no room for another end. */
    pthread_mutex_lock(&ends.lock);
    int room = ends.count <= ENVIRONMENTS * (AT_A_TIME - 1);
    pthread_mutex_unlock(&ends.lock);
    for (int i = 0; room && i < AT_A_TIME && of->left > 0; i++)
      if (!of->reader[i].watcher) {
        begin_reader(of, &of->reader[i]);
        of->left--;
        break;
      }
    if (of->open > 0 && (of->left == 0 || of->open > AT_A_TIME / 2))
      turn(&of->environment);
  }
  EQUAL(of->environment.held, 0);
  fdp_mailbox_close(of->environment.mailbox);
  return NULL;
}

static void *write_all(void *data) {
  unsigned *seed = data;
  for (;;) {
    pthread_mutex_lock(&ends.lock);
    while (ends.count == 0 && !ends.over)
      pthread_cond_wait(&ends.changed, &ends.lock);
    int fd = ends.count > 0 ? ends.fd[--ends.count] : -1;
    pthread_mutex_unlock(&ends.lock);
    if (fd < 0)
      return NULL;
    for (int i = rand_r(seed) % (MOST_BYTES + 1); i > 0; i--)
      if (send(fd, "x", 1, MSG_NOSIGNAL) == 1) /* else the reader has gone */
        atomic_fetch_add(&written, 1);
    EQUAL(close(fd), 0);
  }
}

static void threads_come_and_go(void) {
  begin();
  static struct reading reading[ENVIRONMENTS];
  pthread_t reader[ENVIRONMENTS], writer[WRITERS];
  unsigned seed[WRITERS];
  for (int i = 0; i < ENVIRONMENTS; i++) {
    reading[i] = (struct reading){.seed = (unsigned)i, .left = getenv("FDPASSER_VALGRIND") ? 100 : 1000};
    EQUAL(pthread_create(&reader[i], NULL, read_all, &reading[i]), 0);
  }
  for (int i = 0; i < WRITERS; i++) {
    seed[i] = (unsigned)(100 + i);
    EQUAL(pthread_create(&writer[i], NULL, write_all, &seed[i]), 0);
  }
  long bytes = 0;
  for (int i = 0; i < ENVIRONMENTS; i++) {
    pthread_join(reader[i], NULL);
    bytes += reading[i].bytes;
  }
  pthread_mutex_lock(&ends.lock);
  ends.over = 1;
  pthread_cond_broadcast(&ends.changed);
  pthread_mutex_unlock(&ends.lock);
  for (int i = 0; i < WRITERS; i++)
    pthread_join(writer[i], NULL);
  /* A reader that goes leaves at most what one writer writes. */
  CHECK(bytes <= atomic_load(&written));
  CHECK(bytes + MOST_BYTES * atomic_load(&given_up) >= atomic_load(&written));
  CHECK(bytes > 0 && atomic_load(&given_up) > 0);
  end();
}

#endif

const struct test poller_tests[] = {
#if FDP_PEEK
    {"the poller tells what was asked for as long as it lasts, and nothing else", tells_while_it_lasts},
    {"the poller tells the end of a peer", tells_the_end},
    {"the poller tells an error of a socket, and waits to be asked again", an_error_ends_the_watch},
    {"the poller refuses what cannot be watched", what_cannot_be_watched},
    {"who is told may close any watcher, and itself", closed_while_told},
    {"what came for a number is not told to the next that has it", numbers_used_again},
    {"a number closed behind one environment is watched by another", numbers_taken_over},
    {"threads watch and close while others write and close, and each is told of every end", threads_come_and_go},
#endif
    {0}};
