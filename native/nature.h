/* What a close costs, by what is open. */
#ifndef FDP_NATURE_H
#define FDP_NATURE_H

#include "fdpasser.h"

#if FDP_LANDING

enum fdp_cost {
  FDP_CLOSE_NOTHING, /* the number is not open */
  FDP_CLOSE_QUICK,   /* none ever waits, whoever shares the file */
  FDP_CLOSE_LAST,    /* the last may, where a peer has seen to that: locks, pages to free, a mount that ends with it */
  FDP_CLOSE_SOCKET,  /* the last may, by the socket's options and by what lies in it */
  FDP_CLOSE_SLOW,    /* the last waits by itself for the kernel's other work (inotify), or nobody knows what it does */
  FDP_CLOSE_EACH,    /* each may: a file system or a driver is told of it. Or nobody knows */
};

enum fdp_cost fdp_cost(int fd);

#endif
#endif
