/*
 * A poller with one thread for the whole process, which uses epoll or kqueue. It is for runtimes whose libuv cannot be
 * used: Bun aborts when a function of uv_poll is called, and Deno's report an event once, and late.
 *
 * A descriptor is armed for one event, so that the thread does not spin until the environment has dealt with it. It is
 * armed again when the event has been reported and is still asked for. An event carries an id, never a pointer. The id
 * of a watcher that was closed finds nothing, even if the number is used again. So a closed watcher is freed at once.
 *
 * If a number has two watchers, the older one has lost it: somebody closed the descriptor without telling us, and the
 * number was used again, maybe by another environment. The older one is told nothing more.
 *
 * The lock protects every watcher, except for the fields marked below. No callback is called under the lock except
 * `wake`.
 *
 * A process made by fork(2) does not have the thread. No runtime runs JavaScript in it before an exec, which closes the
 * queue.
 */
#include "../detached.h"
#include "../fdpasser.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fdp_mailbox {
  struct fdp_mailbox_owner owner;
  struct fdp_watcher *first, **end;
  int queued;
  int woken;
  int holds; /* watchers that keep the loop alive; used by the environment's thread alone */
};

struct fdp_watcher {
  uint64_t id;
  struct fdp_mailbox *mailbox;
  fdp_ready ready;
  void *data;
  int wanted; /* written by the environment's thread alone */
  int armed;  /* what the kernel will report, or has reported to the thread, which waits for the lock */
  int events; /* to be reported */
  struct fdp_watcher *next, **link; /* in the mailbox, unless link is NULL */
  int keeps_alive, holds;           /* used by the environment's thread alone */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int source = -1;
static int running;
static uint32_t generation;

/* The youngest watcher of each descriptor. */
static struct fdp_watcher **table;
static size_t slots;

static int number_of(uint64_t id) { return (int)(uint32_t)id; }

static int has_number(const struct fdp_watcher *watcher) { return table[number_of(watcher->id)] == watcher; }

static struct fdp_watcher *find(uint64_t id) {
  size_t fd = (uint32_t)id;
  return fd < slots && table[fd] && table[fd]->id == id ? table[fd] : NULL;
}

/* ---- the kernel's side: epoll or kqueue ------------------------------------------------------------------------- */

enum { BOTH = FDP_READABLE | FDP_WRITABLE, AT_ONCE = 64 };

struct told {
  uint64_t id;
  int events; /* FDP_STOPPED: a socket error */
  int spent;  /* what is no longer armed */
};

#ifdef __linux__

#include <sys/epoll.h>

static int source_open(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int control(int operation, uint64_t id, int wanted) {
  struct epoll_event event = {.events = EPOLLONESHOT, .data.u64 = id};
  if (wanted & FDP_READABLE)
    event.events |= EPOLLIN | EPOLLRDHUP;
  if (wanted & FDP_WRITABLE)
    event.events |= EPOLLOUT;
  return epoll_ctl(source, operation, number_of(id), &event) < 0 ? -errno : 0;
}

/* Registers a descriptor. -EPERM: it cannot be watched, as a regular file. -EEXIST: it is watched already, and is still
 * the same open file. The end of the peer may be reported at once, but nobody asks for it yet. */
static int source_add(uint64_t id) { return control(EPOLL_CTL_ADD, id, 0); }

static int source_arm(const struct fdp_watcher *watcher) {
  return control(EPOLL_CTL_MOD, watcher->id, watcher->wanted);
}

/* The open file may stay open elsewhere, and the kernel would go on watching it. */
static void source_remove(uint64_t id) { control(EPOLL_CTL_DEL, id, 0); }

static int source_wait(struct told *told) {
  struct epoll_event event[AT_ONCE];
  int count = epoll_wait(source, event, AT_ONCE, -1);
  for (int i = 0; i < count; i++) {
    uint32_t bits = event[i].events;
    int events = 0;
    if (bits & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
      events |= FDP_READABLE;
    if (bits & (EPOLLOUT | EPOLLHUP))
      events |= FDP_WRITABLE;
    if (bits & EPOLLERR)
      events = BOTH | FDP_STOPPED;
    told[i] = (struct told){.id = event[i].data.u64, .events = events, .spent = BOTH};
  }
  return count;
}

#else

#include <sys/types.h>
/* <sys/event.h> needs <sys/types.h> first. */
#include <sys/event.h>

_Static_assert(sizeof(void *) == sizeof(uint64_t), "an id travels as a pointer");

/* A kqueue is inherited neither by fork nor by exec. */
static int source_open(void) { return kqueue(); }

/* kqueue does not tell that a descriptor was closed while it was watched. */
static int source_add(uint64_t id) { return table[number_of(id)] ? -EEXIST : 0; }

/* An event that is no longer wanted stays armed, and is ignored when it comes. */
static int source_arm(const struct fdp_watcher *watcher) {
  struct kevent change[2];
  int changes = 0;
  uintptr_t fd = (uintptr_t)number_of(watcher->id);
  void *id = (void *)(uintptr_t)watcher->id;
  if (watcher->wanted & ~watcher->armed & FDP_READABLE)
    EV_SET(&change[changes++], fd, EVFILT_READ, EV_ADD | EV_ENABLE | EV_DISPATCH, 0, 0, id);
  if (watcher->wanted & ~watcher->armed & FDP_WRITABLE)
    EV_SET(&change[changes++], fd, EVFILT_WRITE, EV_ADD | EV_ENABLE | EV_DISPATCH, 0, 0, id);
  return kevent(source, change, changes, NULL, 0, NULL) < 0 ? -errno : 0;
}

/* Each filter has a call of its own, because the first failure ends a call, and a filter that was never armed fails. */
static void source_remove(uint64_t id) {
  struct kevent change;
  EV_SET(&change, (uintptr_t)number_of(id), EVFILT_READ, EV_DELETE, 0, 0, NULL);
  kevent(source, &change, 1, NULL, 0, NULL);
  EV_SET(&change, (uintptr_t)number_of(id), EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
  kevent(source, &change, 1, NULL, 0, NULL);
}

static int source_wait(struct told *told) {
  struct kevent event[AT_ONCE];
  int count = kevent(source, NULL, 0, event, AT_ONCE, NULL);
  for (int i = 0; i < count; i++) {
    int filter = event[i].filter == EVFILT_READ ? FDP_READABLE : FDP_WRITABLE;
    int events = event[i].flags & EV_ERROR ? BOTH | FDP_STOPPED : filter;
    told[i] = (struct told){.id = (uint64_t)(uintptr_t)event[i].udata, .events = events, .spent = filter};
  }
  return count;
}

#endif

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void enqueue(struct fdp_watcher *watcher, int events) {
  struct fdp_mailbox *mailbox = watcher->mailbox;
  watcher->events |= events;
  if (!watcher->link) {
    watcher->next = NULL;
    watcher->link = mailbox->end;
    *mailbox->end = watcher;
    mailbox->end = &watcher->next;
    mailbox->queued++;
  }
  if (!mailbox->woken) {
    mailbox->woken = 1;
    mailbox->owner.wake(mailbox->owner.data);
  }
}

static void dequeue(struct fdp_watcher *watcher) {
  struct fdp_mailbox *mailbox = watcher->mailbox;
  if (!watcher->link)
    __builtin_unreachable(); /* clang's analyser does not know that what is in the queue has a link */
  *watcher->link = watcher->next;
  if (watcher->next)
    watcher->next->link = watcher->link;
  else
    mailbox->end = watcher->link;
  watcher->link = NULL;
  mailbox->queued--;
}

/* Asks the kernel for what is wanted, once. What was armed before may stay armed: unwanted events are ignored. */
static int arm(struct fdp_watcher *watcher) {
  if (!watcher->wanted || watcher->armed == watcher->wanted)
    return 0;
  int error = source_arm(watcher);
  if (!error)
    watcher->armed = watcher->wanted;
  return error;
}

static void *run(void *nothing) {
  struct told told[AT_ONCE];
  (void)nothing;
#ifdef __linux__
  pthread_setname_np(pthread_self(), "fdpasser-poll");
#endif
  for (;;) {
    int count = source_wait(told); /* EINTR is its only error, and stands for no events */
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count; i++) {
      struct fdp_watcher *watcher = find(told[i].id);
      if (!watcher)
        continue;
      watcher->armed &= ~told[i].spent;
      int events = watcher->wanted ? told[i].events & (watcher->wanted | FDP_STOPPED) : 0;
      if (events)
        enqueue(watcher, events & FDP_STOPPED ? BOTH | FDP_STOPPED : events);
    }
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

/* Opens the source and starts the thread, if that has not been done. */
static int start(void) {
  if (source < 0 && (source = source_open()) < 0)
    return -errno;
  if (running)
    return 0;
  int error = fdp_detached(run, NULL);
  running = !error;
  return error;
}

/* ---- the environment's side -------------------------------------------------------------------------------------- */

int fdp_mailbox_open(const struct fdp_mailbox_owner *owner, struct fdp_mailbox **mailbox) {
  pthread_mutex_lock(&lock);
  int error = start();
  pthread_mutex_unlock(&lock);
  if (error)
    return error;
  struct fdp_mailbox *made = calloc(1, sizeof *made);
  if (!made)
    return -ENOMEM;
  made->owner = *owner;
  made->end = &made->first;
  *mailbox = made;
  return 0;
}

void fdp_mailbox_close(struct fdp_mailbox *mailbox) { free(mailbox); }

static void hold(struct fdp_watcher *watcher, int flag) {
  struct fdp_mailbox *mailbox = watcher->mailbox;
  if (flag == watcher->holds)
    return;
  watcher->holds = flag;
  mailbox->holds += flag ? 1 : -1;
  if (mailbox->holds == flag) /* the first watcher that holds, or the last that no longer does */
    mailbox->owner.hold(mailbox->owner.data, flag);
}

static void keep(struct fdp_watcher *watcher) { hold(watcher, watcher->keeps_alive && watcher->wanted); }

/* Events that come while it reports wait for the next wake-up, so that the environment can do other things too. */
void fdp_mailbox_deliver(struct fdp_mailbox *mailbox) {
  struct fdp_watcher *watcher;
  pthread_mutex_lock(&lock);
  mailbox->woken = 0;
  for (int left = mailbox->queued; left > 0 && (watcher = mailbox->first) != NULL; left--) {
    uint64_t id = watcher->id;
    dequeue(watcher);
    int events = watcher->events & (watcher->wanted | FDP_STOPPED);
    watcher->events = 0;
    if (events & FDP_STOPPED) {
      events |= BOTH;
      watcher->wanted = 0;
    }
    pthread_mutex_unlock(&lock);
    if (events) {
      keep(watcher);
      watcher->ready(watcher, watcher->data, events);
    }
    pthread_mutex_lock(&lock);
    watcher = find(id); /* the callback may have closed it */
    /* It fails if somebody else has closed the descriptor, say. The next call on the descriptor tells what is wrong. */
    if (watcher && arm(watcher) != 0)
      enqueue(watcher, BOTH | FDP_STOPPED);
  }
  pthread_mutex_unlock(&lock);
}

/* Makes room for a descriptor in the table. */
static int reserve(size_t fd) {
  if (fd < slots)
    return 0;
  size_t wanted = slots ? slots : 64;
  while (wanted <= fd)
    wanted *= 2;
  struct fdp_watcher **larger = realloc(table, wanted * sizeof(struct fdp_watcher *));
  if (!larger)
    return -ENOMEM;
  memset(larger + slots, 0, (wanted - slots) * sizeof(struct fdp_watcher *));
  table = larger;
  slots = wanted;
  return 0;
}

static int thread_poller_open(void *loop, int fd, fdp_ready ready, void *data, struct fdp_watcher **watcher) {
  if (fd < 0)
    return -EBADF;
  struct fdp_watcher *made = calloc(1, sizeof *made);
  if (!made)
    return -ENOMEM;
  made->mailbox = loop;
  made->ready = ready;
  made->data = data;
  pthread_mutex_lock(&lock);
  int error = reserve((size_t)fd);
  struct fdp_watcher *older = error ? NULL : table[fd];
  if (older && older->mailbox == loop)
    error = -EEXIST;
  if (!error) {
    made->id = (uint64_t)++generation << 32 | (uint32_t)fd;
    error = source_add(made->id);
  }
  if (!error) {
    if (older && older->link)
      dequeue(older);
    table[fd] = made;
  }
  pthread_mutex_unlock(&lock);
  if (error)
    free(made);
  else
    *watcher = made;
  return error;
}

static int thread_poller_set(struct fdp_watcher *watcher, int events) {
  pthread_mutex_lock(&lock);
  watcher->wanted = events;
  int error = has_number(watcher) ? arm(watcher) : 0;
  pthread_mutex_unlock(&lock);
  keep(watcher);
  return error;
}

static void thread_poller_keep_alive(struct fdp_watcher *watcher, int flag) {
  watcher->keeps_alive = flag;
  keep(watcher);
}

static void thread_poller_close(struct fdp_watcher *watcher, fdp_gone gone) {
  void *data = watcher->data;
  hold(watcher, 0);
  pthread_mutex_lock(&lock);
  if (watcher->link)
    dequeue(watcher);
  if (has_number(watcher)) {
    table[number_of(watcher->id)] = NULL;
    source_remove(watcher->id);
  }
  pthread_mutex_unlock(&lock);
  free(watcher);
  gone(data);
}

const struct fdp_poller fdp_thread_poller = {thread_poller_open, thread_poller_set, thread_poller_keep_alive,
                                             thread_poller_close};
