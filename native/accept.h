/* What endpoint.c and tcp.c share. */
#ifndef FDP_ACCEPT_H
#define FDP_ACCEPT_H

#include <sys/socket.h>

/* Makes a new descriptor close-on-exec, and non-blocking if asked. Returns it, or a negative errno after closing it.
 * `fd` may be what a failed call returned: then errno says why. */
int fdp_prepared_after(int fd, int nonblocking);

/* Accepts the next connection of a non-blocking listener, and makes it close-on-exec and non-blocking. `peer` and
 * `size` are those of accept(2). */
int fdp_next_connection(int listener, struct sockaddr *peer, socklen_t *size);

#endif
