#include "control.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

static_assert(sizeof(int) == sizeof(int32_t), "a batch's descriptors are copied as ints");

void fdp_pack(struct msghdr *message, union fdp_rights *control, const int32_t *fd, int32_t count) {
  if (count == 0)
    return;
  size_t length = (size_t)count * sizeof(int);
  struct cmsghdr *rights = &control->align;
  memset(rights, 0, CMSG_LEN(0)); /* musl's struct has padding where the kernel reads the upper half of the length */
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = (socklen_t)CMSG_LEN(length);
  memcpy(CMSG_DATA(rights), fd, length);
  message->msg_control = rights;
  message->msg_controllen = rights->cmsg_len; /* macOS refuses any other length */
}

struct fdp_unpacked fdp_unpack(struct msghdr *message, int32_t *fd) {
  struct fdp_unpacked got = {0, 0};
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
      size_t length = c->cmsg_len - CMSG_LEN(0);
      memcpy(fd + got.count, CMSG_DATA(c), length);
      got.count += (int32_t)(length / sizeof(int));
      continue;
    }
    got.others = 1;
#ifdef __linux__
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_PIDFD) {
      int pidfd;
      memcpy(&pidfd, CMSG_DATA(c), sizeof pidfd);
      if (pidfd >= 0)
        close(pidfd);
    }
#endif
  }
  return got;
}

int fdp_has_packet(int socket) {
#ifdef SO_PASSCRED
  /* Tries several times, because somebody who shares the socket may turn the option off in between. */
  enum { TIMES = 16 };
  int on = 1, off = 0, found = 0;
  for (int i = 0; i < TIMES && !found; i++) {
    char byte;
    struct iovec part = {&byte, 1}; /* qemu-user makes no system call without a part */
    struct cmsghdr beginning;       /* no room for a descriptor */
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    header.msg_control = &beginning;
    header.msg_controllen = sizeof beginning;
    if (setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on))
      return 0;
    ssize_t length = fdp_recvmsg(socket, &header, MSG_PEEK);
    if (length < 0)
      found = length == -EAGAIN ? 0 : (int)length;
    else
      found = header.msg_controllen > 0 || header.msg_flags & MSG_CTRUNC;
  }
  setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &off, sizeof off);
  return found < 0 ? found : found > 0;
#else
  (void)socket;
  return 0;
#endif
}
