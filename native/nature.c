/*
 * Tells what is open at a number without asking whoever serves the file. fstat(2), fstatfs(2) and ioctl(2) ask the file
 * system or the driver. A peer can serve one itself (FUSE), and answer when it likes. What the kernel itself knows is
 * there at once: cached attributes, a socket's options, the flags of an open file, what a mount is.
 */
#include "nature.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#endif

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

static int socket_kind(int fd) {
  int type, domain = fdp_domain(fd);
  socklen_t length = sizeof type;
  if (domain < 0)
    /* What was opened with O_PATH is the path of a socket of AF_UNIX, and no socket. */
    return fdp_access(fd) == 0 ? FDP_SOCKET : domain;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length))
    return -errno;
  if (domain == AF_UNIX)
    return type == SOCK_STREAM ? FDP_UNIX_STREAM : type == SOCK_DGRAM ? FDP_UNIX_DGRAM : FDP_UNIX_SEQPACKET;
  if (domain == AF_INET || domain == AF_INET6) {
    if (type == SOCK_STREAM)
      return FDP_TCP;
    if (type == SOCK_DGRAM)
      return FDP_UDP;
  }
  return FDP_SOCKET;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* What the kernel has cached about a file's inode. */
struct inode {
  unsigned mode;
  unsigned major, minor; /* of a device */
  uint64_t mount;        /* the mount's unique number, never used again; or 0: not known */
};

/* For a kernel without statx(2), or a sandbox that refuses it. */
static int ask_file_system(int fd, struct inode *inode) {
  struct stat status;
  if (fstat(fd, &status))
    return -errno;
  *inode = (struct inode){.mode = status.st_mode};
#ifdef __linux__
  inode->major = major(status.st_rdev);
  inode->minor = minor(status.st_rdev);
#endif
  return 0;
}

#if defined(__linux__) && defined(SYS_statx)

/* struct statx of Linux's uapi/linux/stat.h: old headers do not have it. */
struct extended {
  uint32_t mask, block_size;
  uint64_t attributes;
  uint32_t links, uid, gid;
  uint16_t mode, spare;
  uint64_t ino, size, blocks, attributes_mask, times[8];
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t mount;
  uint64_t more[13];
};

enum { WHAT_IS_CACHED = 0x4000 /* AT_STATX_DONT_SYNC */, TYPE = 0x1, UNIQUE_MOUNT = 0x4000 };

static int look_at(int fd, struct inode *inode) {
  struct extended found;
  if (syscall(SYS_statx, fd, "", 0x1000 /* AT_EMPTY_PATH */ | WHAT_IS_CACHED, TYPE | UNIQUE_MOUNT, &found)) {
    if (errno == ENOSYS || errno == EPERM || errno == EINVAL)
      return ask_file_system(fd, inode);
    return -errno;
  }
  inode->mode = found.mode;
  inode->major = found.rdev_major;
  inode->minor = found.rdev_minor;
  inode->mount = found.mask & UNIQUE_MOUNT ? found.mount : 0;
  return 0;
}

#else

static int look_at(int fd, struct inode *inode) { return ask_file_system(fd, inode); }

#endif

#ifdef __linux__

/* isatty(3) asks the driver. The kernel's list of terminal drivers says the same. */
static int is_terminal(const struct inode *inode) {
  char line[256];
  unsigned major;
  int found = 0;
  if (inode->major == 4 || inode->major == 5 || (inode->major >= 136 && inode->major <= 143))
    return 1; /* consoles and serial lines; /dev/tty and /dev/ptmx; pseudo-terminals (Linux's devices.txt) */
  if (inode->major == 1)
    return 0; /* memory */
  FILE *drivers = fopen("/proc/tty/drivers", "re");
  if (!drivers)
    return 0;
  while (!found && fgets(line, sizeof line, drivers))
    found = sscanf(line, "%*s %*s %u", &major) == 1 && major == inode->major;
  fclose(drivers);
  return found;
}

#endif

int fdp_kind(int fd) {
  struct inode inode = {0};
  int error = look_at(fd, &inode);
  if (error)
    return error;
  switch (inode.mode & S_IFMT) {
  case S_IFREG:
    return FDP_FILE;
  case S_IFDIR:
    return FDP_DIRECTORY;
  case S_IFIFO:
    return FDP_FIFO;
  case S_IFCHR:
#ifdef __linux__
    return is_terminal(&inode) && !(fcntl(fd, F_GETFL) & O_PATH) ? FDP_TTY : FDP_CHARACTER_DEVICE;
#else
    return isatty(fd) ? FDP_TTY : FDP_CHARACTER_DEVICE;
#endif
  case S_IFBLK:
    return FDP_BLOCK_DEVICE;
  case S_IFSOCK:
    return socket_kind(fd);
  case S_IFLNK:
    return FDP_SYMLINK; /* opened with O_PATH and O_NOFOLLOW */
  default:              /* eventfd, epoll, pidfd and the like have no type */
    return FDP_ANONYMOUS;
  }
}

/* ---- what a close costs ------------------------------------------------------------------------------------------ */

#if FDP_LANDING

/*
 * Whether a close that is not the last one does nothing on this file system, because its file_operations have no
 * `flush`. The numbers are from Linux's uapi/linux/magic.h. FUSE, NFS, SMB and the like wait for a server there.
 */
static int never_flushes(uint64_t magic) {
  static const uint32_t quick[] = {0xEF53 /* ext4 */,         0x58465342 /* xfs */,   0x9123683E /* btrfs */,
                                   0x01021994 /* tmpfs */,    0x858458F6 /* ramfs */, 0x794C7630 /* overlayfs */,
                                   0x73717368 /* squashfs */, 0xE0F5E1E2 /* erofs */, 0x9660 /* iso9660 */,
                                   0x4D44 /* vfat */,         0x2011BAB0 /* exfat */, 0x9FA0 /* proc */};
  for (size_t i = 0; i < sizeof quick / sizeof *quick; i++)
    if (magic == quick[i])
      return 1;
  return 0;
}

/* Whether a mount is known to have such a file system. Mounts in a namespace of the peer's own are not known.
 * statmount(2), Linux 6.8. */
static int is_known_mount(uint64_t mount) {
  struct {
    uint32_t size, spare;
    uint64_t mount, parameter, namespace;
  } request = {24, 0, mount, 0x1 /* STATMOUNT_SB_BASIC */, 0};
  struct {
    uint32_t size, spare;
    uint64_t mask;
    uint32_t dev_major, dev_minor;
    uint64_t magic;
    uint64_t more[60];
  } found;
  return syscall(457, &request, &found, sizeof found, 0) == 0 && found.mask & 1 && never_flushes(found.magic);
}

/* Whether a close of a regular file does nothing unless it is the last one. If that is not known, the answer is no. */
static int is_quick_file(int fd, const struct inode *inode) {
  /* The unique number of a mount is never used again, so an answer stays true. */
  static _Atomic uint64_t known[16];
#ifdef F_GET_SEALS
  if (fcntl(fd, F_GET_SEALS) >= 0)
    return 1; /* in memory: memfd_create(2) or tmpfs. The kernel answers this by itself */
#endif
  if (!inode->mount)
    return 0;
  _Atomic uint64_t *place = &known[inode->mount % (sizeof known / sizeof *known)];
  if (atomic_load_explicit(place, memory_order_relaxed) == inode->mount)
    return 1;
  if (!is_known_mount(inode->mount))
    return 0;
  atomic_store_explicit(place, inode->mount, memory_order_relaxed);
  return 1;
}

enum fdp_cost fdp_cost(int fd) {
  struct inode inode = {0};
  int error = look_at(fd, &inode);
  if (error)
    return error == -EBADF ? FDP_CLOSE_NOTHING : FDP_CLOSE_EACH;
  switch (inode.mode & S_IFMT) {
  case S_IFSOCK:
    return FDP_CLOSE_SOCKET;
  case S_IFREG:
    return is_quick_file(fd, &inode) ? FDP_CLOSE_LAST : FDP_CLOSE_EACH;
  case S_IFCHR:
    /* /dev/null, /dev/zero and /dev/full have nothing behind them that a close could wait for. */
    if (inode.major == 1 && (inode.minor == 3 || inode.minor == 5 || inode.minor == 7))
      return FDP_CLOSE_QUICK;
    return inode.major == 1 || is_terminal(&inode) ? FDP_CLOSE_LAST : FDP_CLOSE_EACH;
  case S_IFDIR:
  case S_IFIFO:
  case S_IFBLK:
    return FDP_CLOSE_LAST;
  default:
    return FDP_CLOSE_SLOW;
  }
}

#endif
