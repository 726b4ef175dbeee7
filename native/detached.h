/* Threads that the core starts. */
#ifndef FDP_DETACHED_H
#define FDP_DETACHED_H

/*
 * Starts a thread that nobody joins. It takes no signals, which are for the other threads of the process. Returns 0, or
 * -EAGAIN if it could not be started.
 */
int fdp_detached(void *(*body)(void *), void *argument);

#endif
