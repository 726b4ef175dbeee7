/*
 * On macOS a socket in flight that is open nowhere else can be garbage-collected before it is received. The receiver
 * then gets a socket that has ended. So a duplicate of each socket that was sent stays open here until the peer has
 * read everything. No event tells when that is, so a thread asks again and again. The thread runs as long as something
 * is held, even if the socket that carried the message was closed here.
 */
#include "../detached.h"
#include "transport.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum {
  MOST_HELD = 256, /* messages; the limit for a sender whose peer reads nothing */
  FIRST_WAIT = 1,  /* milliseconds between two checks; doubled each time nothing was read */
  LONGEST_WAIT = 32,
};

struct fdp_held {
  struct fdp_held *next;
  int carrier;
  int count;
  int fd[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fdp_held *all; /* those whose message was sent */
static int messages;         /* how many are in `all`, or about to be */
static int watching;

static int is_socket(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* Whether the peer has read everything that was sent to it, or will never do so. */
static int is_read(int carrier) {
#ifdef __APPLE__
  /* SO_SNDBUF shrinks by the bytes that the peer has not read, and the block size is the sum of both (uipc_send and
   * uipc_sense in XNU's uipc_usrreq.c). */
  struct stat status;
  int room;
  socklen_t length = sizeof room;
  return fstat(carrier, &status) || getsockopt(carrier, SOL_SOCKET, SO_SNDBUF, &room, &length) ||
         status.st_blksize <= room;
#else
  int unread;
  return ioctl(carrier, TIOCOUTQ, &unread) || unread == 0;
#endif
}

static void drop(struct fdp_held *held) {
  fdp_close(held->carrier);
  for (int i = 0; i < held->count; i++)
    fdp_close(held->fd[i]);
  free(held);
}

/* Closes what the peers have read. Returns whether there was anything. */
static int let_go(void) {
  int any = 0;
  for (struct fdp_held **link = &all; *link;) {
    struct fdp_held *held = *link;
    if (!is_read(held->carrier)) {
      link = &held->next;
      continue;
    }
    *link = held->next;
    drop(held);
    messages--;
    any = 1;
  }
  return any;
}

static void *watch(void *argument) {
  long wait = FIRST_WAIT;
  (void)argument;
  for (;;) {
    struct timespec pause = {0, wait * 1000000};
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&lock);
    wait = let_go() ? FIRST_WAIT : wait * 2 > LONGEST_WAIT ? LONGEST_WAIT : wait * 2;
    if (messages == 0) {
      watching = 0;
      pthread_mutex_unlock(&lock);
      return NULL;
    }
    pthread_mutex_unlock(&lock);
  }
}

int fdp_hold(int carrier, const int32_t *fd, int count, struct fdp_held **result) {
  struct fdp_held *held;
  int sockets = 0;
  *result = NULL;
  for (int i = 0; i < count; i++)
    sockets += is_socket(fd[i]);
  if (!sockets)
    return 0;
  if (!(held = malloc(sizeof *held + (size_t)sockets * sizeof *held->fd)))
    return -ENOBUFS;
  held->count = 0;
  if ((held->carrier = fdp_dup(carrier)) < 0) {
    free(held);
    return -ENOBUFS;
  }
  for (int i = 0; i < count && held->count < sockets; i++) {
    if (!is_socket(fd[i]))
      continue;
    if ((held->fd[held->count] = fdp_dup(fd[i])) < 0)
      goto fail;
    held->count++;
  }
  pthread_mutex_lock(&lock);
  int room = messages < MOST_HELD && (watching || (watching = !fdp_detached(watch, NULL)));
  messages += room;
  pthread_mutex_unlock(&lock);
  if (room) {
    *result = held;
    return 0;
  }
fail:
  drop(held);
  return -ENOBUFS;
}

void fdp_hold_end(struct fdp_held *held, int sent) {
  if (!held)
    return;
  pthread_mutex_lock(&lock);
  if (sent) {
    held->next = all;
    all = held;
  } else
    messages--;
  pthread_mutex_unlock(&lock);
  if (!sent)
    drop(held);
}
