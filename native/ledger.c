/* One byte a number; it grows with the highest number owned, as the kernel's own table does. */
#include "fdpasser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int fdp_ledger_has(const struct fdp_ledger *ledger, int fd) {
  return fd >= 0 && (size_t)fd < ledger->size && ledger->owned[fd];
}

int fdp_ledger_add(struct fdp_ledger *ledger, int fd, enum fdp_closer closer) {
  size_t needed = (size_t)fd + 1;
  if (needed > ledger->size) {
    size_t size = ledger->size ? ledger->size : 256;
    while (size < needed)
      size *= 2;
    uint8_t *owned = realloc(ledger->owned, size);
    if (!owned)
      return -ENOMEM;
    memset(owned + ledger->size, 0, size - ledger->size);
    ledger->owned = owned;
    ledger->size = size;
  }
  ledger->owned[fd] = (uint8_t)closer;
  return 0;
}

void fdp_ledger_remove(struct fdp_ledger *ledger, int fd) {
  if (fdp_ledger_has(ledger, fd))
    ledger->owned[fd] = 0;
}

void fdp_ledger_close_all(struct fdp_ledger *ledger) {
  for (size_t fd = 0; fd < ledger->size; fd++)
    if (ledger->owned[fd] == FDP_OURS)
      fdp_close((int)fd);
  free(ledger->owned);
  ledger->owned = NULL;
  ledger->size = 0;
}
