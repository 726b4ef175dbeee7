/*
 * Lanes, in which closes wait. Each origin has its own, so that what one peer has made slow delays only that peer's
 * closes. Each thread serves one lane at a time. There are as many threads as wait in a close, and one more.
 */
#ifndef FDP_LANE_H
#define FDP_LANE_H

#include "fdpasser.h"

#if FDP_LANDING

/*
 * Takes open numbers out of this process's table at once, and leaves the last close of what they were to a thread.
 * Returns how many it took, from the first on. The others are unchanged.
 */
int fdp_land(fdp_origin origin, const int32_t *fd, int count);

#endif

/* Leaves the number to a thread, which closes it. The number stays taken until then. Returns 0, or -1 if nothing was
 * done. */
int fdp_hand_over(fdp_origin origin, int fd);

/* Closes numbers in this thread. Consecutive ones are closed by one call. */
void fdp_close_rows(const int32_t *fd, int count);

#endif
