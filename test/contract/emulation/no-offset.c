/* EMULATION, for tests on Linux alone: see no-offset.h. */
#define EMULATION
#include "no-offset.h"

#include <stdlib.h>
#include <string.h>

/* Gives the kernel twice the room for control (do_sendrecvmsg_locked in qemu's linux-user/syscall.c), and cuts off what
 * then does not fit: it stays open, and nothing tells of it. */
int emulated_recvmmsg(int socket, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout) {
  if (count != 1)
    abort(); /* without an offset more than one would be the same message again */
  struct msghdr *header = &message->msg_hdr;
  void *control = header->msg_control;
  size_t room = header->msg_controllen;
  _Alignas(struct cmsghdr) char twice[4096];
  if (2 * room > sizeof twice)
    abort();
  header->msg_control = room ? twice : NULL;
  header->msg_controllen = (socklen_t)(2 * room);
  int received = recvmmsg(socket, message, 1, flags, timeout);
  header->msg_control = control;
  if (received == 1 && header->msg_controllen > room) {
    struct cmsghdr *first = (struct cmsghdr *)twice;
    header->msg_controllen = (socklen_t)room;
    first->cmsg_len = (socklen_t)room;
  }
  if (received == 1 && room)
    memcpy(control, twice, header->msg_controllen);
  return received;
}
