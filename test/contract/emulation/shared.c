/* EMULATION, for tests on Linux alone: see shared.h. */
#define EMULATION
#include "shared.h"

#include <errno.h>

static void ask_for_credentials(int socket, int on) {
  int error = errno;
  setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  errno = error;
}

static void turn_on(int socket, int flags) {
  if (!(flags & MSG_PEEK))
    ask_for_credentials(socket, 1);
}

static void turn_off(int socket, int flags) {
  if (!(flags & MSG_PEEK))
    ask_for_credentials(socket, 0);
}

void (*shared_before)(int socket, int flags) = turn_on, (*shared_after)(int socket, int flags) = turn_off;

/* Linux notes a sender's credentials if either end asks for them. */
int emulated_sendmmsg(int socket, struct mmsghdr *message, unsigned count, int flags) {
  static _Thread_local int with;
  int sent = 0, whole = 1;
  while (sent < (int)count && whole) {
    ask_for_credentials(socket, with = !with);
    int result = sendmmsg(socket, &message[sent], 1, flags);
    ask_for_credentials(socket, 0);
    if (result < 0)
      break;
    whole = message[sent].msg_len == message[sent].msg_hdr.msg_iov->iov_len;
    sent++;
  }
  return sent > 0 ? sent : -1;
}

ssize_t emulated_recvmsg(int socket, struct msghdr *message, int flags) {
  static _Thread_local int peeked = -1;
  if (flags & MSG_PEEK)
    peeked = socket;
  if (socket != peeked)
    return recvmsg(socket, message, flags);
  shared_before(socket, flags);
  ssize_t length = recvmsg(socket, message, flags);
  shared_after(socket, flags);
  return length;
}

int emulated_recvmmsg(int socket, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout) {
  int received = 0;
  (void)timeout;
  for (; received < (int)count; received++) {
    ssize_t length = emulated_recvmsg(socket, &message[received].msg_hdr, flags);
    if (length < 0)
      break;
    message[received].msg_len = (unsigned)length;
  }
  return received > 0 ? received : -1;
}
