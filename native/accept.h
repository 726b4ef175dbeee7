/* What endpoint.c and tcp.c share. */
#ifndef FDP_ACCEPT_H
#define FDP_ACCEPT_H

#include <sys/socket.h>

/* Makes a descriptor just made close-on-exec, and non-blocking if asked; closes it if that fails. `fd` may be negative,
 * with errno. Returns it or a negative errno. */
int fdp_prepared_after(int fd, int nonblocking);

/* The next connection of a listener that is non-blocking: close-on-exec and non-blocking too. Both of `peer` and `size`
 * as for accept(2). */
int fdp_next_connection(int listener, struct sockaddr *peer, socklen_t *size);

#endif
