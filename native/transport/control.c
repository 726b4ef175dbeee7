#include "control.h"

#ifdef FDP_BSD44

#include <assert.h>
#include <string.h>
#include <unistd.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

static_assert(sizeof(int) == sizeof(int32_t), "a batch's descriptors are copied as ints");

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

#endif
