/* Closing without ever waiting for it. */
#include "fdpasser.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static int close_here(int fd) {
  /* Never again after EINTR: Linux has freed the number by then (close(2)), and another thread may have it. */
  return close(fd) && errno != EINTR ? -errno : 0;
}

static int is_readable(int fd) {
  struct pollfd state = {.fd = fd, .events = POLLIN};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLIN);
}

/*
 * Whether a peer may have seen to it that close(2) waits, O_NONBLOCK or not: SO_LINGER makes the last close of a
 * connection wait for bytes to be acknowledged (socket(7)). The close of a Unix socket is also that of the descriptors
 * which nobody has received from it.
 */
static int may_wait(int fd) {
  int domain;
  struct linger linger;
  socklen_t length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length))
    return 0;
  if (domain == AF_UNIX) {
    if (fdp_listening(fd) == 1)
      return is_readable(fd);
    int found = fdp_pending(fd);
    return (found == -ECONNRESET ? fdp_pending(fd) : found) == 1;
  }
  length = sizeof linger;
  return !getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length) && linger.l_onoff && linger.l_linger > 0;
}

static void *close_there(void *argument) {
  close_here((int)(intptr_t)argument);
  return NULL;
}

int fdp_close(int fd) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  int error;

  if (!may_wait(fd))
    return close_here(fd);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it: signals are for the process's other threads */
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  error = pthread_create(&thread, &attributes, close_there, (void *)(intptr_t)fd);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error ? close_here(fd) : 0;
}
