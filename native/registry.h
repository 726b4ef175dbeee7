/*
 * Who owns which number in this process, and how often it is lent: one registry, whatever threads there are and however
 * many copies and versions of the core are loaded. The copy that was loaded first keeps it for all.
 *
 * What is below must never change: another version of it gets another name.
 */
#ifndef FDP_REGISTRY_H
#define FDP_REGISTRY_H

#include <stdint.h>

struct fdp_registry {
  /* A new owner: one environment. */
  uint32_t (*join)(void);

  /* The kernel has just given these numbers to `who`: whoever else is noted with one, or borrows it, has it no more. */
  void (*take)(uint32_t who, const int32_t *fd, int count);
  /*
   * Notes an owner of an open number, and a word of the owner's. Loans of another file than `identity` are over.
   * -EEXIST: it has one. -ENOMEM: not noted.
   */
  int (*claim)(uint32_t who, int fd, int64_t identity, unsigned word);
  /* The number is open, and its owner's no more. -EBADF: it was not. */
  int (*release)(uint32_t who, int fd);
  /*
   * These are about to be closed. Those that somebody borrows stay open, as nobody's, and become -1: whoever ends the
   * last loan closes them. Those that are not `who`'s become -2.
   */
  void (*leave)(uint32_t who, int32_t *fd, int count);
  /* The lowest number, from `from` on, that `who` owns, with its word; or -1. */
  int (*next)(uint32_t who, int from, unsigned *word);

  /* Somebody borrows an open number, likewise. -EEXIST: its owner has let go of it. -ENOMEM: it is not noted. */
  int (*lend)(int fd, int64_t identity);
  /* So many loans of that file are over. 1: close the number now. */
  int (*settle)(int fd, int64_t identity, unsigned count);
  unsigned (*loans)(int fd);
};

/* The one of this process. */
const struct fdp_registry *fdp_registry(void);

#endif
