/* Threads of the core's own. */
#ifndef FDP_DETACHED_H
#define FDP_DETACHED_H

/*
 * Starts a thread that nobody joins and that takes no signals: those are for the process's other threads.
 * 0, or -EAGAIN: it could not be started.
 */
int fdp_detached(void *(*body)(void *), void *argument);

#endif
