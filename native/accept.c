/* Accepting a connection, whatever its family. */
#include "accept.h"

#include "fdpasser.h"

#include <errno.h>
#include <stdatomic.h>

int fdp_prepared_after(int fd, int nonblocking) {
  if (fd < 0)
    return -errno;
  int error = fdp_close_on_exec(fd);
  if (!error && nonblocking)
    error = fdp_nonblocking(fd, 1);
  if (error)
    fdp_close(fd);
  return error ? error : fd;
}

int fdp_next_connection(int listener, struct sockaddr *peer, socklen_t *size) {
  int fd;
#ifdef SOCK_CLOEXEC
  static atomic_int refused; /* a sandbox refuses accept4: then it does so even for a descriptor that is not open */
  socklen_t room = size ? *size : 0;
  while (!atomic_load(&refused)) {
    fd = accept4(listener, peer, size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
      return fd;
    int error = errno;
    if (error == EINTR)
      continue;
    if ((error != ENOSYS && error != EPERM && error != EACCES) || accept4(-1, NULL, NULL, 0) >= 0 || errno == EBADF)
      return -error;
    atomic_store(&refused, 1);
    if (size)
      *size = room;
  }
#endif
  do
    fd = accept(listener, peer, size);
  while (fd < 0 && errno == EINTR);
  return fdp_prepared_after(fd, 1);
}
