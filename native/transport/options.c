/* Options that change what a receive brings: what they are while a socket is ours, and how they are put back. */
#include "transport.h"

#include <errno.h>
#include <sys/socket.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_INQ
#define SO_INQ 84
#endif

static const struct {
  int name, ours;
} options[] = {
    /* A byte out of band would make the socket readable and give nothing to read, for ever. In line it is like any
     * other. */
    {SO_OOBINLINE, 1},
#ifdef SO_NOSIGPIPE
    {SO_NOSIGPIPE, 1},
#endif
#if defined(FDP_BSD44) && defined(__linux__)
    /* These put control messages beside those of a stream, and messages that are peeked at many at a time have room for
     * their descriptors alone. Kernels differ in which they know. */
    {SO_PASSCRED, 0},
    {SO_PASSSEC, 0},
    {SO_PASSPIDFD, 0},
    {SO_INQ, 0},
#endif
};

enum { OPTIONS = sizeof options / sizeof *options };

int fdp_set_options(int socket) {
  int changed = 0;
  for (int i = 0; i < OPTIONS; i++) {
    int value, ours = options[i].ours;
    socklen_t length = sizeof value;
    if (getsockopt(socket, SOL_SOCKET, options[i].name, &value, &length) || !value == !ours)
      continue;
    if (!setsockopt(socket, SOL_SOCKET, options[i].name, &ours, sizeof ours))
      changed |= 1 << i;
  }
  return changed;
}

void fdp_put_back_options(int socket, int changed) {
  for (int i = 0; i < OPTIONS; i++) {
    int theirs = !options[i].ours;
    if (changed & 1 << i)
      setsockopt(socket, SOL_SOCKET, options[i].name, &theirs, sizeof theirs);
  }
}
