/*
 * Preloaded into every Node process of the tests: ends the process at a close() of a number that is not open. A second
 * close of a number is harmless in a test, but elsewhere it hits a file that another thread has just opened.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void guard(long result, int fd) {
  if (result == 0 || errno != EBADF || fd < 0)
    return;
  char message[64];
  int length = snprintf(message, sizeof message, "close guard: descriptor %d was not open\n", fd);
  (void)!write(STDERR_FILENO, message, (size_t)length);
  abort();
}

int close(int fd) {
  static int (*real)(int);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "close");
  int result = real(fd);
  guard(result, fd);
  return result;
}

/* libuv closes with this, and not with close(). */
long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "syscall");
  va_list list;
  long argument[6];
  va_start(list, number);
  for (int i = 0; i < 6; i++)
    argument[i] = va_arg(list, long);
  va_end(list);
  long result = real(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
  if (number == SYS_close)
    guard(result, (int)argument[0]);
  return result;
}
