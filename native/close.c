/* Closing without ever waiting for it. */
#include "detached.h"
#include "fdpasser.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

static int close_here(int fd) {
  /* Never again after EINTR: Linux has freed the number by then (close(2)), and another thread may have it. */
  return close(fd) && errno != EINTR ? -errno : 0;
}

static int is_readable(int fd) {
  struct pollfd state = {.fd = fd, .events = POLLIN};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLIN);
}

static int is_stream(int fd) {
  int type;
  socklen_t length = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

/* Whether anything lies in a Unix socket. What cannot be told is taken to be so. */
static int has_unread(int fd) {
  int bytes;
  /* Counted, not peeked at: whoever shares the socket may be peeking. A stream that has ended is readable, too. */
  if (fdp_listening(fd) == 0 && is_stream(fd) && ioctl(fd, FIONREAD, &bytes) == 0)
    return bytes > 0;
  return is_readable(fd);
}

/* Whether descriptors lie in a Unix socket, or in those that a listener has not accepted. */
static int has_descriptors(int fd) {
#ifdef __linux__
  /* unix_show_fdinfo in Linux's net/unix/af_unix.c. Nothing else takes nothing and sees behind the first message. */
  char path[40], text[512];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  int info = open(path, O_RDONLY | O_CLOEXEC);
  if (info < 0)
    return 1;
  ssize_t length = read(info, text, sizeof text - 1);
  close(info);
  text[length < 0 ? 0 : length] = 0;
  return strstr(text, "scm_fds: 0\n") == NULL;
#else
  (void)fd;
  return 1;
#endif
}

static int is_unix(int fd) { return fdp_domain(fd) == AF_UNIX; }

/*
 * Whether a peer may have seen to it that close(2) waits, O_NONBLOCK or not: SO_LINGER makes the last close of a
 * connection wait for bytes to be acknowledged (socket(7)). The close of a Unix socket is also that of the descriptors
 * which nobody has received from it.
 */
static int may_wait(int fd) {
  struct linger linger;
  socklen_t length = sizeof linger;
  if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length))
    return 0; /* no socket, most often */
  if (is_unix(fd))
    return has_unread(fd) && has_descriptors(fd);
  return linger.l_onoff && linger.l_linger > 0;
}

/* ---- threads that wait ------------------------------------------------------------------------------------------- */

struct slow {
  struct slow *next;
  int fd;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slow *first; /* of what no thread has come to yet */
static int closers;        /* threads */

static void *close_slowly(void *nothing) {
  struct slow *slow;
  (void)nothing;
  pthread_mutex_lock(&lock);
  while ((slow = first)) {
    int fd = slow->fd;
    first = slow->next;
    pthread_mutex_unlock(&lock);
    free(slow);
    close_here(fd);
    pthread_mutex_lock(&lock);
  }
  closers--;
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* Whether a thread closes it, now or when one is free. */
static int close_elsewhere(int fd) {
  int taken = 0;
  struct slow *slow = malloc(sizeof *slow);
  if (!slow)
    return 0;
  slow->fd = fd;
  pthread_mutex_lock(&lock);
  int more = closers < FDP_MOST_CLOSERS && !fdp_detached(close_slowly, NULL);
  closers += more;
  /* Nothing else can be done about what lies in a Unix socket, so that waits for a thread. */
  if (more || (closers > 0 && is_unix(fd))) {
    slow->next = first;
    first = slow;
    taken = 1;
  }
  pthread_mutex_unlock(&lock);
  if (!taken)
    free(slow);
  return taken;
}

static int close_slow(int fd) {
  struct linger off = {0, 0};
  if (close_elsewhere(fd))
    return 0;
  /* Whoever shares the socket may miss it, so a thread is better. */
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);
  return close_here(fd);
}

/* ---- the contract ------------------------------------------------------------------------------------------------ */

int fdp_close(int fd) { return may_wait(fd) ? close_slow(fd) : close_here(fd); }

/* Closes numbers in a row by one call, where the system has it (close_range(2), Linux 5.9) and lets it through. */
static void close_row(const int32_t *fd, int count) {
#ifdef SYS_close_range
  if (count > 1 && syscall(SYS_close_range, (unsigned)fd[0], (unsigned)fd[count - 1], 0) == 0)
    return;
#endif
  for (int i = 0; i < count; i++)
    close_here(fd[i]);
}

void fdp_close_all(const int32_t *fd, int count) {
  int row = 0; /* how many before the next are in a row, and still to be closed */
  for (int i = 0; i < count; i++) {
    int waits = may_wait(fd[i]);
    if (row > 0 && (waits || fd[i] != fd[i - 1] + 1)) {
      close_row(fd + i - row, row);
      row = 0;
    }
    if (waits)
      close_slow(fd[i]);
    else
      row++;
  }
  close_row(fd + count - row, row);
}
