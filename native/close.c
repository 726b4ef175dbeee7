/* Closing without ever waiting for it. */
#include "detached.h"
#include "fdpasser.h"

#include <errno.h>
#include <poll.h>
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

/* Bytes that nobody has read. Counted, not peeked at: whoever shares the socket may be peeking. */
static int unread(int fd) {
  int bytes;
  return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

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
  if (fdp_domain(fd) == AF_UNIX)
    return fdp_listening(fd) == 1 ? is_readable(fd) : unread(fd);
  return linger.l_onoff && linger.l_linger > 0;
}

static void *close_there(void *argument) {
  close_here((int)(intptr_t)argument);
  return NULL;
}

int fdp_close(int fd) { return may_wait(fd) && !fdp_detached(close_there, (void *)(intptr_t)fd) ? 0 : close_here(fd); }

/* One call for a row of numbers, where the system has it (close_range(2), Linux 5.9) and lets it through. */
static int close_row(int first, int last) {
#ifdef SYS_close_range
  return syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0;
#else
  return first > last;
#endif
}

void fdp_close_all(const int32_t *fd, int count) {
  for (int first = 0, next; first < count; first = next) {
    next = first + 1;
    if (may_wait(fd[first])) {
      fdp_close(fd[first]);
      continue;
    }
    while (next < count && fd[next] == fd[next - 1] + 1 && !may_wait(fd[next]))
      next++;
    if (next - first > 1 && close_row(fd[first], fd[next - 1]))
      continue;
    for (int i = first; i < next; i++)
      close_here(fd[i]);
  }
}
