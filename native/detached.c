#include "detached.h"

#include <pthread.h>
#include <signal.h>

/* Bytes. Far more than the threads need, and far less than the usual 8 MiB, because there may be hundreds. */
enum { STACK = 256 << 10 };

int fdp_detached(void *(*body)(void *), void *argument) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  int error = pthread_attr_init(&attributes);
  if (error)
    return -error;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, STACK);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread has the mask of the thread that makes it */
  error = pthread_create(&thread, &attributes, body, argument);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return -error;
}
