/* How long a close can take, by what is open. */
#ifndef FDP_NATURE_H
#define FDP_NATURE_H

#include "fdpasser.h"

#if FDP_LANDING

enum fdp_cost {
  FDP_CLOSE_NOTHING, /* the number is not open */
  FDP_CLOSE_QUICK,   /* no close ever waits, whoever shares the file */
  FDP_CLOSE_LAST,   /* the last one may, if a peer has arranged that: locks, pages to free, a mount that ends with it */
  FDP_CLOSE_SOCKET, /* the last one may, because of the socket's options or what is in it */
  FDP_CLOSE_SLOW,   /* the last one waits for other work of the kernel (inotify), or nobody knows what it does */
  FDP_CLOSE_EACH,   /* each one may, because a file system or a driver is told of it, or because nobody knows */
};

enum fdp_cost fdp_cost(int fd);

#endif
#endif
