/* What a C++ library that was compiled for glibc asks of it, and musl does not have: see scripts/musl-libraries.js. */
#include <sys/random.h>

char __libc_single_threaded; /* 0: there may be threads */

/* Not found: the unwinder then asks dl_iterate_phdr. */
int _dl_find_object(void *address, void *result) {
  (void)address;
  (void)result;
  return -1;
}

unsigned arc4random(void) {
  unsigned number;
  return getrandom(&number, sizeof number, 0) == sizeof number ? number : 0;
}
