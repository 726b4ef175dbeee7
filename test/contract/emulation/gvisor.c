/* EMULATION, for tests on Linux alone: see gvisor.h. */
#define EMULATION
#include "gvisor.h"

#include <errno.h>

/* An option that is known and not implemented is set with success, and cannot be asked for (SetSockOpt and GetSockOpt
 * in pkg/sentry/socket/netstack/netstack.go). */
static int is_unimplemented(int level, int option) { return level == SOL_SOCKET && option == SO_PEEK_OFF; }

int emulated_getsockopt(int socket, int level, int option, void *value, socklen_t *length) {
  if (!is_unimplemented(level, option))
    return getsockopt(socket, level, option, value, length);
  errno = ENOPROTOOPT;
  return -1;
}

int emulated_setsockopt(int socket, int level, int option, const void *value, socklen_t length) {
  return is_unimplemented(level, option) ? 0 : setsockopt(socket, level, option, value, length);
}

/* Goes on after a message that was sent in part (SendMMsg in pkg/sentry/syscalls/linux/sys_socket.go). */
int emulated_sendmmsg(int socket, struct mmsghdr *message, unsigned count, int flags) {
  for (unsigned i = 0; i < count; i++) {
    ssize_t length = sendmsg(socket, &message[i].msg_hdr, flags);
    if (length < 0)
      return i > 0 ? (int)i : -1;
    message[i].msg_len = (unsigned)length;
  }
  return (int)count;
}

/* Takes few flags (RecvMMsg, in the same file). */
int emulated_recvmmsg(int socket, struct mmsghdr *message, unsigned count, int flags, struct timespec *timeout) {
  if (flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_TRUNC | MSG_ERRQUEUE | MSG_CMSG_CLOEXEC)) {
    errno = EINVAL;
    return -1;
  }
  return recvmmsg(socket, message, count, flags, timeout);
}
