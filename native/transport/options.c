/* Options that change what a receive brings: sets them while a socket is ours, and puts them back afterwards. */
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
    /* A byte out of band would make the socket readable for ever, with nothing to read. In line it is like any other
     * byte. */
    {SO_OOBINLINE, 1},
#ifdef SO_NOSIGPIPE
    {SO_NOSIGPIPE, 1},
#endif
#if defined(FDP_BSD44) && defined(__linux__)
    /* These add control messages to those of a stream. Where many messages are peeked at, each has room for its
     * descriptors alone. Not every kernel knows all of these options. */
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
