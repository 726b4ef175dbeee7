/*
 * Preloaded into a process that a security policy is to keep one file from, which DENIED names by device and inode: the
 * descriptors before it are received, it and those behind it are not, and MSG_CTRUNC is set. So scm_detach_fds in
 * Linux's net/core/scm.c has it.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_denied(int fd) {
  struct stat status;
  char name[64];
  const char *denied = getenv("DENIED");
  if (!denied || fstat(fd, &status))
    return 0;
  snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
  return strcmp(name, denied) == 0;
}

static void deny(struct msghdr *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
      continue;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int), kept = 0;
    int *fd = (int *)CMSG_DATA(c);
    while (kept < count && !is_denied(fd[kept]))
      kept++;
    if (kept == count)
      continue;
    for (size_t i = kept; i < count; i++)
      close(fd[i]);
    c->cmsg_len = CMSG_LEN(kept * sizeof(int));
    message->msg_controllen =
        (size_t)((char *)c - (char *)message->msg_control) + (kept > 0 ? CMSG_ALIGN(c->cmsg_len) : 0);
    message->msg_flags |= MSG_CTRUNC;
  }
}

ssize_t recvmsg(int socket, struct msghdr *message, int flags) {
  static ssize_t (*real)(int, struct msghdr *, int);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "recvmsg");
  ssize_t length = real(socket, message, flags);
  if (length >= 0)
    deny(message);
  return length;
}

int recvmmsg(int socket, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout) {
  static int (*real)(int, struct mmsghdr *, unsigned, int, struct timespec *);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "recvmmsg");
  int received = real(socket, message, count, flags, timeout);
  for (int i = 0; i < received; i++)
    deny(&message[i].msg_hdr);
  return received;
}
