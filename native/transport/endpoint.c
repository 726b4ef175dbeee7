/* AF_UNIX endpoints: pairs, listeners, connections, and who is at the other end (unix(7)). */
#include "../accept.h"
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef __FreeBSD__
#include <sys/ucred.h>
#endif
#ifdef __sun
#include <ucred.h>
#endif

#ifndef POLLRDHUP
#define POLLRDHUP 0
#endif

static const int socket_type[] = {
    [FDP_STREAM] = SOCK_STREAM, [FDP_SEQPACKET] = SOCK_SEQPACKET, [FDP_DGRAM] = SOCK_DGRAM};

/* macOS and AIX cannot make a socket close-on-exec and non-blocking in the same call. A fork on another thread can come
 * in between. */
#ifdef SOCK_CLOEXEC
enum { CLOSE_ON_EXEC = SOCK_CLOEXEC, NON_BLOCKING = SOCK_NONBLOCK };
#else
enum { CLOSE_ON_EXEC = 0, NON_BLOCKING = 0 };
#endif

/* Finishes a new socket. `fd` may be what a failed call returned: then errno says why. Returns the socket, or a
 * negative errno. */
static int prepared(int fd, int nonblocking) {
#ifdef SOCK_CLOEXEC
  (void)nonblocking;
  return fd < 0 ? -errno : fd;
#else
  return fdp_prepared_after(fd, nonblocking);
#endif
}

int fdp_pair(enum fdp_type type, int pair[2]) {
  if (socketpair(AF_UNIX, socket_type[type] | CLOSE_ON_EXEC, 0, pair))
    return -errno;
  for (int i = 0; i < 2; i++) {
    int error = prepared(pair[i], 0);
    if (error < 0) {
      fdp_close(pair[1 - i]);
      return error;
    }
  }
  return 0;
}

/* Fills in the address of a name. An abstract name consists of its bytes alone. A path ends with a NUL, for which the
 * system need not have room. */
static int address(struct sockaddr_un *address, socklen_t *size, const char *name, size_t length) {
  if (length == 0 || length > sizeof address->sun_path)
    return -ENAMETOOLONG;
#ifndef __linux__
  if (!name[0])
    return -EAFNOSUPPORT;
#endif
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, name, length);
  *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  return 0;
}

static int open_socket(enum fdp_type type) {
  return prepared(socket(AF_UNIX, socket_type[type] | CLOSE_ON_EXEC | NON_BLOCKING, 0), 1);
}

static int bind_to(int fd, const struct sockaddr_un *at, socklen_t size) {
  int status;
  do
    status = bind(fd, (const struct sockaddr *)at, size);
  while (status && errno == EINTR);
  return status ? -errno : 0;
}

/* Binds so that a path has no permissions beyond `mode` at any moment. */
static int bind_with_mode(int fd, const struct sockaddr_un *at, socklen_t size, unsigned mode) {
#ifndef FDP_UMASK
  /* bind gives the path the mode of the socket. A sandbox may refuse to change that. */
  if (!at->sun_path[0] || !fchmod(fd, (mode_t)mode))
    return bind_to(fd, at, size);
  if (errno != ENOSYS && errno != EPERM && errno != EACCES)
    return -errno;
#endif
  /* Here only the umask decides. It belongs to the process, so what other threads create at this moment is limited in
   * the same way. The lock keeps two threads from changing it at once, since one would then put back what the other has
   * set. */
  static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&changing);
  mode_t before = umask(~(mode_t)mode & 0777);
  int error = bind_to(fd, at, size);
  umask(before);
  pthread_mutex_unlock(&changing);
  return error;
}

/* Removes the path that was just bound, unless something with other permissions is there by now. */
static void unbind(const struct sockaddr_un *at, unsigned mode) {
  struct stat there;
  char path[sizeof at->sun_path + 1] = {0};
  memcpy(path, at->sun_path, sizeof at->sun_path);
  if (path[0] && !lstat(path, &there) && S_ISSOCK(there.st_mode) && !(there.st_mode & 0777 & ~(mode_t)mode))
    unlink(path);
}

int fdp_listen(enum fdp_type type, const char *name, size_t length, unsigned mode, int backlog) {
  struct sockaddr_un at;
  socklen_t size;
  int error = address(&at, &size, name, length);
  if (error)
    return error;
  int fd = open_socket(type);
  if (fd < 0)
    return fd;
  error = bind_with_mode(fd, &at, size, mode);
  if (!error && type != FDP_DGRAM && listen(fd, backlog)) {
    error = -errno;
    unbind(&at, mode);
  }
  if (error)
    fdp_close(fd);
  return error ? error : fd;
}

int fdp_connect(enum fdp_type type, const char *name, size_t length) {
  struct sockaddr_un at;
  socklen_t size;
  int error = address(&at, &size, name, length);
  if (error)
    return error;
  int status, fd = open_socket(type);
  if (fd < 0)
    return fd;
  do
    status = connect(fd, (struct sockaddr *)&at, size);
  while (status && errno == EINTR);
  if (status) {
    error = -errno;
    fdp_close(fd);
    return error;
  }
  return fd;
}

int fdp_is_shut(int socket) {
  struct pollfd state = {.fd = socket, .events = POLLRDHUP};
  int ready;
  do
    ready = poll(&state, 1, 0);
  while (ready < 0 && errno == EINTR);
  return ready < 0 ? -errno : (state.revents & (POLLRDHUP | POLLHUP)) != 0;
}

static int next_connection(int listener) {
  /* accept cannot be asked not to wait, and somebody who shares the listener may have made it blocking again. */
  int error = fdp_nonblocking(listener, 1);
  return error ? error : fdp_next_connection(listener, NULL, NULL);
}

int fdp_accept(int listener) {
  int fd = next_connection(listener);
  if (fd != -EAGAIN || fdp_is_shut(listener) <= 0)
    return fd;
  fd = next_connection(listener); /* one may have come before the shutdown */
  return fd == -EAGAIN ? -EINVAL : fd;
}

int fdp_name(int socket, char *name, size_t room) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  socklen_t size = sizeof at;
  if (getsockname(socket, (struct sockaddr *)&at, &size))
    return -errno;
  size_t before = offsetof(struct sockaddr_un, sun_path);
  size_t length = size > before ? size - before : 0;
  if (length > sizeof at.sun_path)
    length = sizeof at.sun_path; /* the longest path has no room for its NUL */
  if (length && at.sun_path[0])
    length = strnlen(at.sun_path, length);
  if (length > room)
    return -ENAMETOOLONG;
  memcpy(name, at.sun_path, length);
  return (int)length;
}

#ifdef __linux__
int fdp_peer(int socket, struct fdp_peer *peer) {
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length))
    return -errno;
  if (credentials.pid == 0 && credentials.uid == (uid_t)-1)
    return -ENOTCONN;
  peer->pid = (uint32_t)credentials.pid;
  peer->uid = credentials.uid;
  peer->gid = credentials.gid;
  return 0;
}
#elif defined(__FreeBSD__)
int fdp_peer(int socket, struct fdp_peer *peer) {
  struct xucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(socket, 0, LOCAL_PEERCRED, &credentials, &length))
    return -errno;
  peer->pid = (uint32_t)credentials.cr_pid;
  peer->uid = credentials.cr_uid;
  peer->gid = credentials.cr_gid;
  return 0;
}
#elif defined(__sun)
int fdp_peer(int socket, struct fdp_peer *peer) {
  ucred_t *credentials = NULL;
  if (getpeerucred(socket, &credentials))
    return -errno;
  peer->pid = (uint32_t)ucred_getpid(credentials);
  peer->uid = ucred_geteuid(credentials);
  peer->gid = ucred_getegid(credentials);
  ucred_free(credentials);
  return 0;
}
#else
int fdp_peer(int socket, struct fdp_peer *peer) {
  uid_t uid;
  gid_t gid;
  if (getpeereid(socket, &uid, &gid))
    return -errno;
  pid_t pid = 0;
#ifdef LOCAL_PEERPID
  socklen_t length = sizeof pid;
  getsockopt(socket, SOL_LOCAL, LOCAL_PEERPID, &pid, &length);
#endif
  peer->pid = (uint32_t)pid;
  peer->uid = uid;
  peer->gid = gid;
  return 0;
}
#endif
