/*
 * Numbers that the runtime may close when a thread ends. Node closes those that it gave out itself
 * (`trackUnmanagedFds`), after it has told everybody of the thread's end, and nobody can ask which they are. So a file
 * that nobody else can have takes the place of what was open at the number. If that file is still there when the thread
 * ends, the runtime has not closed the number, and it is closed here.
 */
#include "fdpasser.h"
#include "registry.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef SOCK_CLOEXEC
enum { CLOSE_ON_EXEC = SOCK_CLOEXEC };
#else
enum { CLOSE_ON_EXEC = 0 };
#endif

struct left {
  struct left *next;
  int fd;
  int place;      /* a duplicate of the file put there, so that no other file gets its identity meanwhile; or -1 */
  uint32_t owner; /* if `place` is -1: the owner of the number */
  int64_t identity;
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void forget(struct left **link) {
  struct left *left = *link;
  *link = left->next;
  if (left->place >= 0)
    fdp_close(left->place);
  free(left);
}

/* Closes a number that the runtime has not closed. */
static void close_left(const struct left *left) {
  int32_t fd = left->fd;
  if (left->place < 0)
    fdp_registry()->leave(left->owner, &fd, 1);
  if (fd >= 0)
    fdp_close(fd);
}

static void at_end(void *data) {
  struct left *left = data;
  while (left) {
    if (fdp_identity(left->fd) == left->identity)
      close_left(left);
    else if (left->place < 0)
      fdp_registry()->release(left->owner, left->fd);
    forget(&left);
  }
}

static void make_key(void) { pthread_key_create(&key, at_end); }

#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak" /* pthread_setspecific keeps it */
#endif

static int note(uint32_t owner, int fd, int place) {
  struct left *left = malloc(sizeof *left);
  if (!left)
    return -ENOMEM;
  pthread_once(&once, make_key);
  *left = (struct left){pthread_getspecific(key), fd, place, owner, fdp_identity(place < 0 ? fd : place)};
  if (!pthread_setspecific(key, left))
    return 0;
  free(left);
  return -ENOMEM;
}

int fdp_vacate(int fd) {
  int file = fdp_dup(fd);
  if (file < 0)
    return file;
  int place = socket(AF_UNIX, SOCK_DGRAM | CLOSE_ON_EXEC, 0);
  int error = place < 0 ? -errno : note(0, fd, place);
  if (!error) {
    dup2(place, fd);       /* a child that inherits it can do nothing with it */
    fdp_close_on_exec(fd); /* even so, no child should */
  } else if (place >= 0)
    fdp_close(place);
  fdp_close(file); /* usually the last reference, so it may be slow */
  return error;
}

void fdp_vacated(int fd) {
  struct left *first = pthread_getspecific(key), **link = &first;
  while (*link && (*link)->fd != fd)
    link = &(*link)->next;
  if (*link)
    forget(link);
  pthread_setspecific(key, first);
}

void fdp_leave(uint32_t owner, int fd) { note(owner, fd, -1); }
