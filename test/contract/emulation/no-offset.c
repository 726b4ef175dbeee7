/* EMULATION, for tests on Linux alone: see no-offset.h. */
#define EMULATION
#include "no-offset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Goes on after a message that was sent in part (do_sendrecvmmsg in qemu's linux-user/syscall.c). */
int emulated_sendmmsg(int socket, struct mmsghdr *message, unsigned count, int flags) {
  for (unsigned i = 0; i < count; i++) {
    ssize_t length = sendmsg(socket, &message[i].msg_hdr, flags);
    if (length < 0)
      return i > 0 ? (int)i : -1;
    message[i].msg_len = (unsigned)length;
  }
  return (int)count;
}

/*
 * Makes no call without an iovec. Gives the kernel twice the room for control, and cuts off what then does not fit: it
 * stays open, and nothing tells of it (do_sendrecvmsg_locked, in the same file).
 */
ssize_t emulated_recvmsg(int socket, struct msghdr *header, int flags) {
  void *control = header->msg_control;
  size_t room = header->msg_controllen;
  _Alignas(struct cmsghdr) char twice[16384];
  if (header->msg_iovlen == 0)
    return 0;
  if (2 * room > sizeof twice)
    abort();
  header->msg_control = room ? twice : NULL;
  header->msg_controllen = (socklen_t)(2 * room);
  ssize_t length = recvmsg(socket, header, flags);
  header->msg_control = control;
  if (length >= 0 && header->msg_controllen > room) {
    struct cmsghdr *first = (struct cmsghdr *)twice;
    header->msg_controllen = (socklen_t)room;
    if (first->cmsg_len > room)
      first->cmsg_len = (socklen_t)room;
  }
  if (length >= 0 && room)
    memcpy(control, twice, header->msg_controllen);
  return length;
}

int emulated_recvmmsg(int socket, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout) {
  (void)timeout;
  if (count != 1)
    abort(); /* without an offset more than one would be the same message again */
  ssize_t length = emulated_recvmsg(socket, &message->msg_hdr, flags);
  message->msg_len = (unsigned)length;
  return length < 0 ? -1 : 1;
}
