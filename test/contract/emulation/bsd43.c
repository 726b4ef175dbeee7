/* EMULATION, for tests on Linux alone: see bsd43.h. */
#define EMULATION
#include "bsd43.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 253 };

union control {
  struct cmsghdr align;
  char bytes[CMSG_SPACE(MOST * sizeof(int))];
};

ssize_t emulated_sendmsg(int socket, const struct emulated_msghdr *message, int flags) {
  union control control;
  struct msghdr header = {
      .msg_iov = message->msg_iov,
  };
  header.msg_iovlen = (unsigned)message->msg_iovlen;
  size_t length = (size_t)message->msg_accrightslen;
  if (length > MOST * sizeof(int)) {
    errno = EINVAL;
    return -1;
  }
  if (length) {
    memset(&control, 0, sizeof control);
    control.align.cmsg_level = SOL_SOCKET;
    control.align.cmsg_type = SCM_RIGHTS;
    control.align.cmsg_len = (socklen_t)CMSG_LEN(length);
    memcpy(CMSG_DATA(&control.align), message->msg_accrights, length);
    header.msg_control = &control;
    header.msg_controllen = (socklen_t)CMSG_LEN(length);
  }
  return syscall(SYS_sendmsg, socket, &header, flags | MSG_NOSIGNAL); /* musl's has too little room for control */
}

ssize_t emulated_recvmsg(int socket, struct emulated_msghdr *message, int flags) {
  union control control;
  struct msghdr header = {
      .msg_iov = message->msg_iov,
  };
  header.msg_iovlen = (unsigned)message->msg_iovlen;
  size_t room = (size_t)message->msg_accrightslen, arrived = 0;
  message->msg_accrightslen = 0;
  if (room) {
    header.msg_control = &control;
    header.msg_controllen = sizeof control;
  }
  ssize_t length = recvmsg(socket, &header, flags);
  if (length < 0 || !room)
    return length;
  struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
  int fd[MOST];
  if (rights && rights->cmsg_type == SCM_RIGHTS) {
    arrived = rights->cmsg_len - CMSG_LEN(0);
    memcpy(fd, CMSG_DATA(rights), arrived);
  }
  /* A full table fails the call, and both the bytes and the descriptors are gone. */
  int full = (header.msg_flags & MSG_CTRUNC) != 0;
  size_t kept = full ? 0 : arrived < room ? arrived : room;
  for (size_t i = kept / sizeof(int); i < arrived / sizeof(int); i++)
    close(fd[i]); /* descriptors without room are cut off, and nothing reports it */
  if (full) {
    errno = EMFILE;
    return -1;
  }
  memcpy(message->msg_accrights, fd, kept);
  message->msg_accrightslen = (int)kept;
  return length;
}
