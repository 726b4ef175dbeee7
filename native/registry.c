/* The registry. Several copies of the core in one process agree on one of their registries, as described at the end. */
#include "registry.h"

#include "fdpasser.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Owner of a number that its owner has closed. The number is open only for those who borrow it. */
#define NOBODY UINT32_MAX

struct entry {
  uint32_t owner; /* 0: none */
  unsigned word;
  uint32_t loans;
  int64_t identity; /* of the file that is lent */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *entries; /* one for each number; grows with the highest number, as the kernel's own table does */
static size_t size;
static uint32_t last;

static struct entry *find(int fd) { return fd >= 0 && (size_t)fd < size ? &entries[fd] : NULL; }

static struct entry *make(int fd) {
  size_t needed = (size_t)fd + 1, larger = size ? size : 256;
  if (needed > size) {
    while (larger < needed)
      larger *= 2;
    struct entry *grown = realloc(entries, larger * sizeof *grown);
    if (!grown)
      return NULL;
    memset(grown + size, 0, (larger - size) * sizeof *grown);
    entries = grown;
    size = larger;
  }
  return &entries[fd];
}

/* Notes that the file now open there has this identity. Loans of any other file end. */
static void look(struct entry *entry, int64_t identity) {
  if (entry->identity != identity)
    entry->loans = 0;
  entry->identity = identity;
}

static uint32_t join(void) {
  pthread_mutex_lock(&lock);
  uint32_t who = ++last;
  pthread_mutex_unlock(&lock);
  return who;
}

static void take(uint32_t who, const int32_t *fd, int count) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < count; i++) {
    struct entry *entry = make(fd[i]);
    if (entry) {
      entry->owner = who;
      entry->word = 0;
      entry->loans = 0;
    }
  }
  pthread_mutex_unlock(&lock);
}

static int claim(uint32_t who, int fd, int64_t identity, unsigned word) {
  pthread_mutex_lock(&lock);
  struct entry *entry = make(fd);
  int error = !entry ? -ENOMEM : entry->owner ? -EEXIST : 0;
  if (!error) {
    entry->owner = who;
    entry->word = word;
    look(entry, identity);
  }
  pthread_mutex_unlock(&lock);
  return error;
}

static int release(uint32_t who, int fd) {
  pthread_mutex_lock(&lock);
  struct entry *entry = find(fd);
  int error = entry && entry->owner == who ? 0 : -EBADF;
  if (!error)
    entry->owner = 0;
  pthread_mutex_unlock(&lock);
  return error;
}

static void leave(uint32_t who, int32_t *fd, int count) {
  pthread_mutex_lock(&lock);
  for (int i = 0; i < count; i++) {
    struct entry *entry = find(fd[i]);
    if (!entry)
      continue; /* it could not be noted: memory was short */
    if (entry->owner != who)
      fd[i] = -2;
    else if (entry->loans) {
      entry->owner = NOBODY;
      fd[i] = -1;
    } else
      entry->owner = 0;
  }
  pthread_mutex_unlock(&lock);
}

static int next(uint32_t who, int from, unsigned *word) {
  int found = -1;
  pthread_mutex_lock(&lock);
  for (size_t fd = (size_t)from; fd < size && found < 0; fd++)
    if (entries[fd].owner == who) {
      found = (int)fd;
      *word = entries[fd].word;
    }
  pthread_mutex_unlock(&lock);
  return found;
}

static int lend(int fd, int64_t identity) {
  pthread_mutex_lock(&lock);
  struct entry *entry = make(fd);
  int error = !entry ? -ENOMEM : entry->owner == NOBODY ? -EEXIST : 0;
  if (!error) {
    look(entry, identity);
    entry->loans++;
  }
  pthread_mutex_unlock(&lock);
  return error;
}

static int settle(int fd, int64_t identity, unsigned count) {
  int close_it = 0;
  pthread_mutex_lock(&lock);
  struct entry *entry = find(fd);
  if (entry && entry->loans && entry->identity == identity) {
    entry->loans -= count < entry->loans ? count : entry->loans; /* loans from before a `take` are no longer counted */
    close_it = !entry->loans && entry->owner == NOBODY;
  }
  if (close_it)
    entry->owner = 0;
  pthread_mutex_unlock(&lock);
  return close_it;
}

static unsigned loans(int fd) {
  pthread_mutex_lock(&lock);
  const struct entry *entry = find(fd);
  unsigned count = entry ? entry->loans : 0;
  int64_t identity = count ? entry->identity : 0;
  pthread_mutex_unlock(&lock);
  return count && fdp_identity(fd) == identity ? count
                                               /* A loan does not count for another file that has the number now. */
                                               : 0;
}

/* ---- the registry that is used ----------------------------------------------------------------------------------- */

static const struct fdp_registry own = {join, take, claim, release, leave, next, lend, settle, loans};

__attribute__((visibility("default"))) const struct fdp_registry *fdpasser_registry_1(void);
const struct fdp_registry *fdpasser_registry_1(void) { return &own; }

static const struct fdp_registry *first_loaded(void) {
  const struct fdp_registry *(*function)(void) = NULL;
  *(void **)&function = dlsym(RTLD_DEFAULT, "fdpasser_registry_1");
  return function ? function() : &own;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct fdp_registry *chosen;

/*
 * A runtime loads an addon so that its symbols are hidden from others. Loading it once more makes them visible. The
 * linker searches in the order in which copies became visible, so every copy finds the first one.
 */
static void choose(void) {
  Dl_info self;
  if (dladdr((void *)(uintptr_t)choose, &self) && self.dli_fname)
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
  chosen = first_loaded();
}

const struct fdp_registry *fdp_registry(void) {
  pthread_once(&once, choose);
  return chosen;
}
