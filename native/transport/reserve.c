/*
 * Free slots, for systems that cannot peek. There a message loses descriptors if it finds too few slots. A slot that
 * was held for it would have to be freed before the receive, and then any thread could take it. So a receive begins
 * only if there are more free slots than it can need. It fails only if other threads take all the rest between the
 * count and the receive.
 */
#include "transport.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

enum {
  OTHERS = 16,  /* slots that other threads may take in the meantime */
  ROOMY = 4,    /* a table this many times as large as the largest need of a receive is not small */
  PROBED = 512, /* how many numbers one call looks at */
};

/* Worker threads share the table. If two of them counted the same slots, one would find them taken. */
static pthread_mutex_t receiving = PTHREAD_MUTEX_INITIALIZER;

/* How many numbers are free; stops counting at about `enough`. The lowest numbers are given out first, so the search
 * begins at the highest. */
static int free_slots(int limit, int enough) {
  struct pollfd probe[PROBED];
  int found = 0;
  for (int top = limit; top > 0 && found < enough;) {
    int count = top < PROBED ? top : PROBED;
    top -= count;
    for (int i = 0; i < count; i++)
      probe[i] = (struct pollfd){.fd = top + i};
    int status;
    do
      status = poll(probe, (nfds_t)count, 0);
    while (status < 0 && errno == EINTR);
    if (status < 0)
      return -errno;
    for (int i = 0; i < count; i++)
      found += (probe[i].revents & POLLNVAL) != 0;
  }
  return found;
}

int fdp_reserve(int expected) {
  pthread_mutex_lock(&receiving);
  int limit = getdtablesize();
  int needed = fdp_most + OTHERS;
  /* In a small table that would be most of it. So there the next message is expected to be like the one before. */
  if (limit < ROOMY * needed)
    needed = expected < 1 ? 1 : expected;
  int found = free_slots(limit, needed);
  if (found >= needed)
    return 0;
  pthread_mutex_unlock(&receiving);
  return found < 0 ? found : -EMFILE;
}

void fdp_reserve_end(void) { pthread_mutex_unlock(&receiving); }
