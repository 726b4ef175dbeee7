/*
 * Tells files apart by number, without asking the file itself. If that is not permitted, or cannot be told, all files
 * count as the same.
 */
#include "fdpasser.h"

#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

/* Mixes both into one number. It is the same for two files only by an unlikely chance. It has 52 bits, which a number
 * of JavaScript holds. */
static int64_t mixed(uint64_t device, uint64_t inode) {
  uint64_t mix = inode + device * 0x9e3779b97f4a7c15u;
  mix = (mix ^ (mix >> 30)) * 0xbf58476d1ce4e5b9u;
  mix = (mix ^ (mix >> 27)) * 0x94d049bb133111ebu;
  return (int64_t)(mix >> 12);
}

#ifdef SYS_statx
/* statx(2), called by its number, because it is newer than some C libraries and their headers. */
enum { EMPTY_PATH = 0x1000, DONT_SYNC = 0x4000, WANT_INODE = 0x100 };

struct answer {
  uint32_t before[8];
  uint64_t inode;
  uint64_t between[11];
  uint32_t device[4]; /* the last two are the device of the file system */
  uint64_t after[14];
};

/* Asks only for what the kernel itself knows, because a file system in user space could take its time to answer. */
int64_t fdp_identity(int fd) {
  struct answer answer;
  if (!syscall(SYS_statx, fd, "", EMPTY_PATH | DONT_SYNC, WANT_INODE, &answer))
    return mixed((uint64_t)answer.device[2] << 32 | answer.device[3], answer.inode);
  return fdp_check(fd);
}
#else
int64_t fdp_identity(int fd) {
  struct stat status;
  return fstat(fd, &status) ? fdp_check(fd) : mixed((uint64_t)status.st_dev, (uint64_t)status.st_ino);
}
#endif
