/*
 * Who owns each number in this process, and how often it is lent. There is one registry for all threads, and for all
 * copies and versions of the core that are loaded. The copy that was loaded first keeps it for all.
 *
 * The struct below must never change. A changed one needs another name.
 */
#ifndef FDP_REGISTRY_H
#define FDP_REGISTRY_H

#include <stdint.h>

struct fdp_registry {
  /* Returns a new owner: one for each environment. */
  uint32_t (*join)(void);

  /* Records that the kernel has just given these numbers to `who`. Whoever else was noted as owner or borrower of one
   * has lost it. */
  void (*take)(uint32_t who, const int32_t *fd, int count);
  /*
   * Notes the owner of an open number, and a word of that owner's. Loans of another file than `identity` end. -EEXIST:
   * the number has an owner. -ENOMEM: it could not be noted.
   */
  int (*claim)(uint32_t who, int fd, int64_t identity, unsigned word);
  /* Ends the ownership of a number, which stays open. -EBADF: `who` did not own it. */
  int (*release)(uint32_t who, int fd);
  /*
   * Prepares numbers to be closed, and says in `fd` which to close. One that somebody borrows stays open without an
   * owner, and becomes -1: whoever ends the last loan closes it. One that `who` does not own becomes -2.
   */
  void (*leave)(uint32_t who, int32_t *fd, int count);
  /* Returns the lowest number from `from` on that `who` owns, with its word; or -1. */
  int (*next)(uint32_t who, int from, unsigned *word);

  /* Notes a loan of an open number. Loans of another file than `identity` end. -EEXIST: its owner has let go of it.
   * -ENOMEM: it could not be noted. */
  int (*lend)(int fd, int64_t identity);
  /* Ends `count` loans of that file. Returns 1 if the caller must close the number now. */
  int (*settle)(int fd, int64_t identity, unsigned count);
  /* Returns how many loans there are of what is open at the number. */
  unsigned (*loans)(int fd);
};

/* Returns the registry of this process. */
const struct fdp_registry *fdp_registry(void);

#endif
