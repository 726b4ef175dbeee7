/*
 * Where closes wait: a lane for each origin, so that what one peer has made slow delays that peer's alone. Threads
 * serve the lanes, one thread a lane at a time; as many as are waiting in a close, and one.
 */
#ifndef FDP_LANE_H
#define FDP_LANE_H

#include "fdpasser.h"

#if FDP_LANDING

/*
 * Takes open numbers out of this process's table at once, and leaves the last close of what they were to a thread.
 * Returns how many of the first it took: the others are as they were.
 */
int fdp_land(fdp_origin origin, const int32_t *fd, int count);

#endif

/* Leaves the number to a thread, which closes it: until then it is taken. 0, or -1: nothing was done. */
int fdp_hand_over(fdp_origin origin, int fd);

/* Closes numbers here and now, those in ascending rows by one call. */
void fdp_close_rows(const int32_t *fd, int count);

#endif
