/*
 * The origin of each open number. A number has one owner at a time, and only the owner changes its entry. The table has
 * two levels: most processes have few numbers, and an entry must not move while another thread uses it.
 */
#include "fdpasser.h"

#include <stdatomic.h>
#include <stdlib.h>

struct noted {
  _Atomic fdp_origin from, through;
};

enum { ROW = 1024, ROWS = 4096 };

static struct noted *_Atomic rows[ROWS];

/* The origin of what cannot be noted, because memory is short or the number is too high. It may have come from any
 * peer. */
enum { ANYBODY = 2 };
static _Atomic fdp_origin last = ANYBODY;

fdp_origin fdp_new_origin(void) {
  fdp_origin origin;
  do
    origin = atomic_fetch_add(&last, 1) + 1;
  while (origin <= ANYBODY); /* it wraps around after 4294967295 origins: some peers then share one */
  return origin;
}

static struct noted *find(int fd) {
  if (fd < 0 || fd >= ROW * ROWS)
    return NULL;
  struct noted *row = atomic_load(&rows[fd / ROW]);
  return row ? &row[fd % ROW] : NULL;
}

static struct noted *find_or_make(int fd) {
  struct noted *noted = find(fd), *none = NULL, *row;
  if (noted || fd < 0 || fd >= ROW * ROWS || !(row = calloc(ROW, sizeof *row)))
    return noted;
  if (!atomic_compare_exchange_strong(&rows[fd / ROW], &none, row))
    free(row); /* another thread was first */
  return find(fd);
}

fdp_origin fdp_origin_of(int fd) {
  const struct noted *noted = find(fd);
  return noted ? atomic_load_explicit(&noted->from, memory_order_relaxed) : fd >= ROW * ROWS ? ANYBODY : 0;
}

void fdp_set_origin(int fd, fdp_origin origin) {
  struct noted *noted = origin ? find_or_make(fd) : find(fd);
  if (noted) {
    atomic_store_explicit(&noted->from, origin, memory_order_relaxed);
    atomic_store_explicit(&noted->through, 0, memory_order_relaxed);
  }
}

fdp_origin fdp_origin_through(int socket) {
  const struct noted *noted = find(socket);
  return noted ? atomic_load_explicit(&noted->through, memory_order_relaxed) : 0;
}

void fdp_set_origin_through(int socket, fdp_origin origin) {
  struct noted *noted = origin ? find_or_make(socket) : find(socket);
  if (noted)
    atomic_store_explicit(&noted->through, origin, memory_order_relaxed);
}
