/*
 * Preloaded into a process whose C core is to meet trouble: makes chosen system calls of the core fail, come up short,
 * or kill or stop the process. Calls of Node itself are left alone: only those that return into fdpasser.node count.
 *
 * FAULTS names a file that the test and this library both map. It holds the rules, which may change at any time, and a
 * trace of the core's calls. test/support/faults.ts has the same layout.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RULES = 4, NAME = 32, TRACED = 1024 };

enum action { NOTHING, FAIL, SHORT, SIGNAL_BEFORE, SIGNAL_AFTER };

struct rule {
  char call[NAME];       /* "*" is every call */
  int32_t action, value; /* an errno or a signal */
  int32_t first, times;  /* from the first one on, counted from 1; 0 times is for ever */
  int32_t fd;            /* of calls that are about this descriptor alone; 0 is any */
  _Atomic int32_t seen, hit;
};

struct shared {
  struct rule rule[RULES];
  _Atomic int32_t traced;
  char trace[TRACED][NAME];
};

static struct shared *shared;

__attribute__((constructor)) static void map(void) {
  const char *path = getenv("FAULTS");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  void *at = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at != MAP_FAILED)
    shared = at;
  close(fd);
}

static int of_core(void *caller) {
  Dl_info info;
  static const char core[] = "fdpasser.node";
  if (!shared || !dladdr(caller, &info) || !info.dli_fname)
    return 0;
  size_t length = strlen(info.dli_fname);
  return length >= sizeof core - 1 && !strcmp(info.dli_fname + length - (sizeof core - 1), core);
}

struct fate {
  int error, shorter, signal;
};

static struct fate meet(void *caller, const char *name, int fd) {
  struct fate fate = {0, 0, 0};
  /* Calls without a descriptor only check whether a sandbox allows them. */
  if (fd < 0 || (caller != &shared && !of_core(caller)))
    return fate;
  char call[NAME];
  strncpy(call, name, sizeof call - 1);
  call[NAME - 1] = 0;
  /* The thread that grows the table runs at any time, so its calls are counted separately. */
  if (getpid() != gettid())
    strncat(call, " (thread)", sizeof call - strlen(call) - 1);
  else {
    int at = atomic_fetch_add(&shared->traced, 1);
    if (at < TRACED)
      memcpy(shared->trace[at], call, NAME);
  }
  for (int i = 0; i < RULES; i++) {
    struct rule *rule = &shared->rule[i];
    if (rule->action == NOTHING || (strcmp(rule->call, call) && (strcmp(rule->call, "*") || getpid() != gettid())))
      continue;
    if (rule->fd && rule->fd != fd)
      continue;
    int now = atomic_fetch_add(&rule->seen, 1) + 1;
    if (now < rule->first || (rule->times && now >= rule->first + rule->times))
      continue;
    atomic_fetch_add(&rule->hit, 1);
    if (rule->action == FAIL)
      fate.error = rule->value;
    else if (rule->action == SHORT)
      fate.shorter = 1;
    else if (rule->action == SIGNAL_BEFORE)
      raise(rule->value);
    else
      fate.signal = rule->value;
  }
  return fate;
}

/* Defines a function that meets its fate before the real one is called, as `name`; `about` is a descriptor. */
#define MEET(result, function, name, about, parameters, arguments)     \
  result function parameters {                                         \
    static result(*real) parameters;                                   \
    if (!real)                                                         \
      *(void **)&real = dlsym(RTLD_NEXT, #function);                   \
    struct fate fate = meet(__builtin_return_address(0), name, about); \
    if (fate.error) {                                                  \
      errno = fate.error;                                              \
      return -1;                                                       \
    }                                                                  \
    result outcome = real arguments;                                   \
    if (fate.signal) {                                                 \
      int error = errno;                                               \
      raise(fate.signal);                                              \
      errno = error;                                                   \
    }                                                                  \
    return outcome;                                                    \
  }

static const char *option_name(int get, int option) {
  switch (option) {
  case SO_PEEK_OFF:
    return get ? "getsockopt SO_PEEK_OFF" : "setsockopt SO_PEEK_OFF";
  case SO_DOMAIN:
    return "getsockopt SO_DOMAIN";
  case SO_TYPE:
    return "getsockopt SO_TYPE";
  case SO_ACCEPTCONN:
    return "getsockopt SO_ACCEPTCONN";
  case SO_PEERCRED:
    return "getsockopt SO_PEERCRED";
  default:
    return get ? "getsockopt" : "setsockopt SO_PASS";
  }
}

MEET(int, getsockopt, option_name(1, option), fd, (int fd, int level, int option, void *value, socklen_t *length),
     (fd, level, option, value, length))
MEET(int, setsockopt, option_name(0, option), fd, (int fd, int level, int option, const void *value, socklen_t length),
     (fd, level, option, value, length))
MEET(int, sendmmsg, "sendmmsg", fd, (int fd, struct mmsghdr *message, unsigned count, int flags),
     (fd, message, fate.shorter ? 1 : count, flags))
MEET(int, recvmmsg, flags &MSG_PEEK ? "recvmmsg MSG_PEEK" : "recvmmsg", fd,
     (int fd, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout),
     (fd, message, fate.shorter ? 1 : count, flags, timeout))
MEET(ssize_t, sendmsg, "sendmsg", fd, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
MEET(ssize_t, recvmsg, flags &MSG_PEEK ? "recvmsg MSG_PEEK" : "recvmsg", fd,
     (int fd, struct msghdr *message, int flags), (fd, message, flags))
MEET(ssize_t, recv, "recv", fd, (int fd, void *bytes, size_t length, int flags), (fd, bytes, length, flags))
MEET(int, poll, "poll", fds->fd, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
MEET(int, socket, "socket", 0, (int domain, int type, int protocol), (domain, type, protocol))
MEET(int, socketpair, "socketpair", 0, (int domain, int type, int protocol, int pair[2]),
     (domain, type, protocol, pair))
MEET(int, bind, "bind", fd, (int fd, const struct sockaddr *at, socklen_t length), (fd, at, length))
MEET(int, listen, "listen", fd, (int fd, int backlog), (fd, backlog))
MEET(int, connect, "connect", fd, (int fd, const struct sockaddr *at, socklen_t length), (fd, at, length))
MEET(int, accept4, "accept4", fd, (int fd, struct sockaddr *at, socklen_t *length, int flags), (fd, at, length, flags))
MEET(int, shutdown, "shutdown", fd, (int fd, int how), (fd, how))
MEET(int, fchmod, "fchmod", fd, (int fd, mode_t mode), (fd, mode))
MEET(int, chmod, "chmod", 0, (const char *path, mode_t mode), (path, mode))
MEET(int, fstat, "fstat", fd, (int fd, struct stat *status), (fd, status))
MEET(int, flock, "flock", fd, (int fd, int operation), (fd, operation))
MEET(ssize_t, read, "read", fd, (int fd, void *bytes, size_t length), (fd, bytes, length))
MEET(int, unlink, "unlink", 0, (const char *path), (path))
MEET(int, getrlimit, "getrlimit", 0, (__rlimit_resource_t resource, struct rlimit *limit), (resource, limit))

/* Of the poller that has a thread it is the core's own call. Of the other it is libuv's for it: uv_poll_init tries
 * whether a descriptor can be watched, with such data. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
  static int (*real)(int, int, int, struct epoll_event *);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "epoll_ctl");
  if (!shared || operation != EPOLL_CTL_ADD || (event->data.fd != -1 && !of_core(__builtin_return_address(0))))
    return real(epoll, operation, fd, event);
  struct fate fate = meet(&shared, "epoll_ctl", fd);
  if (fate.error) {
    errno = fate.error;
    return -1;
  }
  int outcome = real(epoll, operation, fd, event);
  if (fate.signal)
    raise(fate.signal);
  return outcome;
}

int isatty(int fd) {
  static int (*real)(int);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "isatty");
  struct fate fate = meet(__builtin_return_address(0), "isatty", fd);
  if (fate.error)
    errno = fate.error;
  int outcome = fate.error ? 0 : real(fd);
  if (fate.signal)
    raise(fate.signal);
  return outcome;
}

/* Linux has freed the number whatever close returns (close(2)). */
int close(int fd) {
  static int (*real)(int);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "close");
  struct fate fate = meet(__builtin_return_address(0), "close", fd);
  int outcome = real(fd);
  int error = errno;
  if (fate.signal)
    raise(fate.signal);
  errno = fate.error ? fate.error : error;
  return fate.error ? -1 : outcome;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
  static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
  struct fate fate = meet(__builtin_return_address(0), "pthread_create", 0);
  int outcome = fate.error ? fate.error : real(thread, attributes, run, argument);
  if (fate.signal)
    raise(fate.signal);
  return outcome;
}

int open(const char *path, int flags, ...) {
  static int (*real)(const char *, int, ...);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "open");
  va_list list;
  va_start(list, flags);
  mode_t mode = va_arg(list, mode_t);
  va_end(list);
  struct fate fate = meet(__builtin_return_address(0), "open", 0);
  if (fate.error) {
    errno = fate.error;
    return -1;
  }
  int outcome = real(path, flags, mode);
  if (fate.signal)
    raise(fate.signal);
  return outcome;
}

static int control(void *caller, int (*real)(int, int, ...), int fd, int command, void *argument) {
  const char *name = command == F_GETFL           ? "fcntl F_GETFL"
                     : command == F_SETFL         ? "fcntl F_SETFL"
                     : command == F_GETFD         ? "fcntl F_GETFD"
                     : command == F_SETFD         ? "fcntl F_SETFD"
                     : command == F_DUPFD_CLOEXEC ? "fcntl F_DUPFD"
                                                  : "fcntl";
  struct fate fate = meet(caller, name, fd);
  if (fate.error) {
    errno = fate.error;
    return -1;
  }
  int outcome = real(fd, command, argument);
  if (fate.signal) {
    int error = errno;
    raise(fate.signal);
    errno = error;
  }
  return outcome;
}

#define CONTROL(function)                                                     \
  int function(int fd, int command, ...) {                                    \
    static int (*real)(int, int, ...);                                        \
    if (!real)                                                                \
      *(void **)&real = dlsym(RTLD_NEXT, #function);                          \
    va_list list;                                                             \
    va_start(list, command);                                                  \
    void *argument = va_arg(list, void *);                                    \
    va_end(list);                                                             \
    return control(__builtin_return_address(0), real, fd, command, argument); \
  }

CONTROL(fcntl)
CONTROL(fcntl64)
