/* AF_UNIX endpoints: pairs, listeners, connections, and who is at the other end (unix(7)). */
#include "../fdpasser.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const int socket_type[] = {
    [FDP_STREAM] = SOCK_STREAM, [FDP_SEQPACKET] = SOCK_SEQPACKET, [FDP_DGRAM] = SOCK_DGRAM};

int fdp_pair(enum fdp_type type, int pair[2]) {
  return socketpair(AF_UNIX, socket_type[type] | SOCK_CLOEXEC, 0, pair) ? -errno : 0;
}

/* An abstract name is its bytes and no more; a path ends with a NUL, for which the system need not have room. */
static socklen_t address(struct sockaddr_un *address, const char *name, size_t length) {
  if (length == 0 || length > sizeof address->sun_path)
    return 0;
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, name, length);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static int open_socket(enum fdp_type type) {
  int fd = socket(AF_UNIX, socket_type[type] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd < 0 ? -errno : fd;
}

int fdp_listen(enum fdp_type type, const char *name, size_t length, unsigned mode, int backlog) {
  struct sockaddr_un at;
  socklen_t size = address(&at, name, length);
  if (!size)
    return -ENAMETOOLONG;
  int error, status, fd = open_socket(type);
  if (fd < 0)
    return fd;
  /* On Linux bind gives the path the socket's own mode, so there is no moment at which the path is open to others. */
  if (name[0] && fchmod(fd, (mode_t)mode))
    goto fail;
  do
    status = bind(fd, (struct sockaddr *)&at, size);
  while (status && errno == EINTR);
  if (status)
    goto fail;
  if (type == FDP_DGRAM || listen(fd, backlog) == 0)
    return fd;
  error = errno;
  /* Nobody replaces the path of a socket that is still open (src/endpoint/server.ts), so it is the one just bound. */
  if (name[0]) {
    char path[sizeof at.sun_path + 1] = {0};
    memcpy(path, name, length);
    unlink(path);
  }
  errno = error;
fail:
  error = errno;
  fdp_close(fd);
  return -error;
}

int fdp_connect(enum fdp_type type, const char *name, size_t length) {
  struct sockaddr_un at;
  socklen_t size = address(&at, name, length);
  if (!size)
    return -ENAMETOOLONG;
  int status, fd = open_socket(type);
  if (fd < 0)
    return fd;
  do
    status = connect(fd, (struct sockaddr *)&at, size);
  while (status && errno == EINTR);
  if (status) {
    int error = errno;
    fdp_close(fd);
    return -error;
  }
  return fd;
}

int fdp_accept(int listener) {
  int fd;
  do
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (fd < 0 && errno == EINTR);
  return fd < 0 ? -errno : fd;
}

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
