/* Grows the process's descriptor table. A thread that does nothing else waits for the growth, so it delays nobody. */
#include "detached.h"
#include "fdpasser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

/* The size that Node's own descriptors have given the table, from 64 in a new process, before any addon loads. Only
 * Linux stops threads while a table grows, so other systems need nothing. */
#ifdef __linux__
enum { FIRST_SLOTS = 256 };
#else
enum { FIRST_SLOTS = INT32_MAX };
#endif

static atomic_int slots = FIRST_SLOTS;
static atomic_flag growing = ATOMIC_FLAG_INIT;

int fdp_table_slots(void) {
  struct rlimit limit;
  int known = atomic_load(&slots);
  /* The table never grows beyond the limit. If it is that large, it need not grow until the limit is raised. */
  return known == INT32_MAX || getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > (rlim_t)known ? known : INT32_MAX;
}

/*
 * Makes the kernel grow the table by using a number beyond it. What has the number for that moment does not matter. It
 * is a duplicate of a standard stream, because opening a file would take a low number that another thread may count on.
 */
static void *grow(void *argument) {
  int wanted = (int)(intptr_t)argument;
  int high = -1;
  for (int fd = 0; fd <= 2 && high < 0; fd++)
    high = fcntl(fd, F_DUPFD_CLOEXEC, wanted - 1);
  if (high >= 0)
    close(high);
  /* EINVAL: the limit was lowered meanwhile. After any other error there is nothing better to do than to go on. */
  if (high >= 0 || errno != EINVAL)
    atomic_store(&slots, wanted);
  atomic_flag_clear(&growing);
  return NULL;
}

int fdp_table_grow(int wanted) {
  struct rlimit limit;

  if (atomic_flag_test_and_set(&growing))
    return 0;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)wanted)
    wanted = (int)limit.rlim_cur;
  if (wanted <= atomic_load(&slots)) {
    atomic_flag_clear(&growing);
    return 0;
  }
  int error = fdp_detached(grow, (void *)(intptr_t)wanted);
  if (error)
    atomic_flag_clear(&growing);
  return error;
}
