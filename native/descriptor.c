/* Questions about one descriptor, and changes to it. */
#include "fdpasser.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __APPLE__
#include <libproc.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
/* From linux/netlink.h, which not every C library comes with. */
enum { SOCK_DIAG = 4 };
#endif

int fdp_domain(int fd) {
#ifdef SO_DOMAIN
  int domain;
  socklen_t length = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) ? -errno : domain;
#else
  struct sockaddr_storage name;
  socklen_t length = sizeof name;
  if (getsockname(fd, (struct sockaddr *)&name, &length))
    return -errno;
  return length ? name.ss_family : AF_UNIX; /* AIX gives a socket of AF_UNIX no name at all */
#endif
}

#ifndef __APPLE__
/* Whether a number was opened with O_PATH. Most calls return EBADF for it, even if it is a file. */
static int is_place(int fd) {
  int error = errno, place = fdp_access(fd) == 0;
  errno = error;
  return place;
}
#endif

int fdp_listening(int fd) {
#ifdef __APPLE__
  /* macOS has SO_ACCEPTCONN in its headers, but getsockopt does not know it. The socket's own flags tell. */
  struct stat status;
  struct socket_fdinfo info;
  if (fstat(fd, &status))
    return -errno;
  if (!S_ISSOCK(status.st_mode))
    return 0;
  if (proc_pidfdinfo(getpid(), fd, PROC_PIDFDSOCKETINFO, &info, sizeof info) != (int)sizeof info)
    return -errno;
  return (info.psi.soi_options & SO_ACCEPTCONN) != 0;
#else
  int listening;
  socklen_t length = sizeof listening;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length))
    return errno == ENOTSOCK || (errno == EBADF && is_place(fd)) ? 0 : -errno;
  return listening != 0; /* the BSDs return the flag itself, not 1 */
#endif
}

int fdp_ipv6(int fd) {
  int domain = fdp_domain(fd);
  return domain < 0 ? domain : domain == AF_INET6;
}

int fdp_access(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0)
    return -errno;
#ifdef O_PATH
  if (flags & O_PATH)
    return 0;
#endif
  switch (flags & O_ACCMODE) {
  case O_RDONLY:
    return FDP_READ;
  case O_WRONLY:
    return FDP_WRITE;
  default:
    return FDP_READ | FDP_WRITE;
  }
}

int fdp_check(int fd) { return fcntl(fd, F_GETFD) < 0 ? -errno : 0; }

int fdp_dup(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0)
    return -errno;
  fdp_set_origin(copy, fdp_origin_of(fd));
  return copy;
}

int fdp_close_on_exec(int fd) { return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0; }

int fdp_nonblocking(int fd, int flag) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0)
    return -errno;
  int wanted = flag ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  return wanted != flags && fcntl(fd, F_SETFL, wanted) < 0 ? -errno : 0;
}

int fdp_diag_socket(void) {
#ifdef __linux__
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, SOCK_DIAG);
  return fd < 0 ? -errno : fd;
#else
  return -ENOSYS;
#endif
}

int fdp_pidfd(void) {
#ifdef SYS_pidfd_open
  int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  return fd < 0 ? -errno : fd;
#else
  return -ENOSYS;
#endif
}
