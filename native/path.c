/* The mode of a listener's path, and the lock beside it. */
#include "fdpasser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int lock(int fd, const char *file) {
  struct stat locked, there;
  int status;
  do
    status = flock(fd, LOCK_EX | LOCK_NB);
  while (status && errno == EINTR);
  if (status || fstat(fd, &locked))
    return -errno;
  /* The holder before us has removed its file, so this lock is worth nothing. */
  if (lstat(file, &there) || there.st_dev != locked.st_dev || there.st_ino != locked.st_ino)
    return -EAGAIN;
  return fd;
}

int fdp_lock(const char *file) {
  /* Non-blocking, because whoever may write to the folder could put a fifo there. */
  int fd = open(file, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0444);
  if (fd < 0)
    return -errno;
  int result = lock(fd, file);
  if (result >= 0)
    return result;
  if (result != -EAGAIN) /* locking does not work here, so the file is of no use to anybody */
    unlink(file);
  close(fd);
  return result;
}

#ifdef __linux__
static int set_mode(int fd, unsigned bound, unsigned mode) {
  struct stat there;
  char name[32];
  if (fstat(fd, &there))
    return -errno;
  if (!S_ISSOCK(there.st_mode) || there.st_mode & 0777 & ~(mode_t)bound)
    return -ESTALE;
  /* fchmod refuses a descriptor that was opened with O_PATH, but its name in proc(5) leads to the same file. */
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  return chmod(name, (mode_t)mode) ? -errno : 0;
}

int fdp_set_mode(const char *path, unsigned bound, unsigned mode) {
  int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  int error = set_mode(fd, bound, mode);
  close(fd);
  return error;
}
#else
int fdp_set_mode(const char *path, unsigned bound, unsigned mode) {
  (void)path;
  return bound == mode ? 0 : -ENOSYS;
}
#endif
