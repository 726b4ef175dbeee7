/* Growing the process's descriptor table where it stops nobody: on a thread that exists for that alone. */
#include "detached.h"
#include "fdpasser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

/* Node's own descriptors have grown a new process's 64 to this before any addon loads. Only Linux stops a process to
 * grow a table; elsewhere there is nothing to do ahead. */
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
  /* The table never grows past the limit, so one as large as that needs no more; until the limit is raised. */
  return known == INT32_MAX || getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > (rlim_t)known ? known : INT32_MAX;
}

/*
 * A number beyond the table makes the kernel grow it; what bears the number for that moment does not matter. It is a
 * duplicate of a standard stream, because opening something would take a low number from under other threads.
 */
static void *grow(void *argument) {
  int wanted = (int)(intptr_t)argument;
  int high = -1;
  for (int fd = 0; fd <= 2 && high < 0; fd++)
    high = fcntl(fd, F_DUPFD_CLOEXEC, wanted - 1);
  if (high >= 0)
    close(high);
  /* EINVAL: the limit was lowered meanwhile. After any other error nothing better can be done. */
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
