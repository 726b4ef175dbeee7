/* What one environment owns and borrows. It is kept in the registry of the process. */
#include "fdpasser.h"
#include "registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fdp_ledger_open(struct fdp_ledger *ledger) {
  memset(ledger, 0, sizeof *ledger);
  ledger->owner = fdp_registry()->join();
  ledger->handed = -1;
}

void fdp_ledger_take(struct fdp_ledger *ledger, const int32_t *fd, int count) {
  fdp_registry()->take(ledger->owner, fd, count);
}

int fdp_ledger_adopt(struct fdp_ledger *ledger, int fd, enum fdp_closer closer) {
  int64_t identity = fdp_identity(fd);
  return identity < 0 ? (int)identity : fdp_registry()->claim(ledger->owner, fd, identity, closer);
}

void fdp_ledger_release(struct fdp_ledger *ledger, int fd) {
  fdp_registry()->release(ledger->owner, fd);
  if (fd == ledger->handed)
    ledger->handed = -1;
}

static int leave(struct fdp_ledger *ledger, int fd, int (*close)(int fd)) {
  int32_t left = fd;
  fdp_registry()->leave(ledger->owner, &left, 1);
  return left >= 0 ? close(left) : left == -1 ? 0 : -EBADF;
}

int fdp_ledger_close(struct fdp_ledger *ledger, int fd) { return leave(ledger, fd, fdp_close); }
int fdp_ledger_close_alone(struct fdp_ledger *ledger, int fd) { return leave(ledger, fd, fdp_close_alone); }

void fdp_ledger_close_all(struct fdp_ledger *ledger, int32_t *fd, int count) {
  int left = 0;
  fdp_registry()->leave(ledger->owner, fd, count);
  for (int i = 0; i < count; i++)
    if (fd[i] >= 0)
      fd[left++] = fd[i];
  fdp_close_all(fd, left);
}

void fdp_ledger_hand_over(struct fdp_ledger *ledger, int fd) {
  if (fd >= 0)
    ledger->identity = fdp_identity(fd);
  ledger->handed = fd;
}

/* ---- loans ------------------------------------------------------------------------------------------------------- */

static int room_for(struct fdp_ledger *ledger, int fd) {
  size_t needed = (size_t)fd + 1, size = ledger->size ? ledger->size : 64;
  if (needed <= ledger->size)
    return 0;
  while (size < needed)
    size *= 2;
  struct fdp_loans *lent = realloc(ledger->lent, size * sizeof *lent);
  if (!lent)
    return -ENOMEM;
  memset(lent + ledger->size, 0, (size - ledger->size) * sizeof *lent);
  ledger->lent = lent;
  ledger->size = size;
  return 0;
}

int64_t fdp_ledger_lend(struct fdp_ledger *ledger, int fd) {
  int64_t identity = fdp_identity(fd);
  int error = identity < 0 ? (int)identity : room_for(ledger, fd);
  if (!error)
    error = fdp_registry()->lend(fd, identity);
  if (error)
    return error;
  struct fdp_loans *loans = &ledger->lent[fd];
  if (loans->identity != identity)
    *loans = (struct fdp_loans){identity, 0};
  loans->count++;
  return identity;
}

int fdp_ledger_end_loan(struct fdp_ledger *ledger, int fd, int64_t identity) {
  struct fdp_loans *loans = &ledger->lent[fd];
  if (loans->identity != identity)
    return 0; /* another file has been lent there since */
  loans->count--;
  if (!fdp_registry()->settle(fd, identity, 1))
    return 0;
  fdp_close(fd);
  return 1;
}

int fdp_ledger_is_lent(int fd) { return fdp_registry()->loans(fd) > 0; }

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* Closes or gives up what the environment owns. `perhaps` says whether this includes the numbers that the runtime may
 * close. */
static void end_owned(struct fdp_ledger *ledger, int perhaps) {
  unsigned closer;
  for (int fd = -1; (fd = fdp_registry()->next(ledger->owner, fd + 1, &closer)) >= 0;) {
    int handed = fd == ledger->handed && fdp_identity(fd) != ledger->identity;
    if (closer == FDP_OTHERS || handed)
      fdp_ledger_release(ledger, fd);
    else if (closer != FDP_PERHAPS)
      fdp_ledger_close(ledger, fd);
    else if (perhaps && (fdp_ledger_is_lent(fd) || fdp_vacate(fd)))
      fdp_leave(ledger->owner, fd);
    else if (perhaps)
      fdp_ledger_release(ledger, fd);
  }
}

void fdp_ledger_end(struct fdp_ledger *ledger) {
  for (size_t fd = 0; fd < ledger->size; fd++)
    if (ledger->lent[fd].count && fdp_registry()->settle((int)fd, ledger->lent[fd].identity, ledger->lent[fd].count))
      fdp_close((int)fd);
  free(ledger->lent);
  ledger->lent = NULL;
  ledger->size = 0;
  end_owned(ledger, 0); /* first these, because the others need a free number */
  end_owned(ledger, 1);
}
