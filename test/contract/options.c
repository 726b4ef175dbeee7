/* Options that add control messages to what is received. A process that shares the socket may set them at any time. */
#include "contract.h"

#ifdef FDP_BSD44

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

/* Not every header has all of them, nor every kernel. */
#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_INQ
#define SO_INQ 84
#endif

enum when { BEFORE, AFTER, MEANWHILE, ALL_BEFORE, ALL_AFTER, ALL_MEANWHILE, WHENS };
enum { ROUNDS = 12, STRETCH = 8, ALL = -1 };

static const int options[] = {SO_PASSCRED,     SO_PASSSEC, SO_PASSPIDFD, SO_TIMESTAMP, SO_TIMESTAMPNS,
                              SO_TIMESTAMPING, SO_INQ,     SO_RXQ_OVFL,  SO_RCVMARK,   SO_MARK};
enum { OPTIONS = sizeof options / sizeof *options };

static void set_option(int socket, int which, int value) {
  for (int i = 0; i < OPTIONS; i++)
    if (which == i || which == ALL) {
      int given = options[i] == SO_TIMESTAMPING ? value * 0x1f8 : value;
      setsockopt(socket, SOL_SOCKET, options[i], &given, sizeof given);
    }
}

static struct {
  pthread_t thread;
  int socket, which;
  atomic_int over;
} toggler;

static void *toggle(void *nothing) {
  for (int value = 1; !atomic_load(&toggler.over); value = !value)
    set_option(toggler.socket, toggler.which, value);
  return nothing;
}

static int bytes, descriptors;

/* Takes all that is there. Each descriptor must be the next of the files. Returns the result of the last receive. */
static int take_all(int socket, enum fdp_type type, const int *files) {
  struct fdp_demand demand = {type == FDP_STREAM ? 16 : 1, 16, 2, FDP_MAX_FDS, STRETCH};
  int result;
  while ((result = fdp_receive(socket, in_bytes, &demand, &in)) > 0) {
    int next = 0;
    for (int i = 0; i < result; i++) {
      bytes += in.size[i];
      for (int end = next + in.count[i]; next < end; next++, descriptors++)
        CHECK(is_same(in.fd[next], files[descriptors % 3]));
    }
    close_all(in.fd, next);
  }
  return result;
}

static void try_one(enum fdp_type type, enum when when, int which) {
  int pair[2], files[3], sent_bytes = 0, sent_descriptors = 0, result;
  int early = when == BEFORE || when == ALL_BEFORE, late = when == AFTER || when == ALL_AFTER;
  bytes = descriptors = 0;
  EQUAL(fdp_pair(type, pair), 0);
  for (int i = 0; i < 3; i++)
    files[i] = new_file();
  if (early)
    set_option(pair[1], which, 1);
  for (int i = 0; i < 2; i++)
    CHECK(fdp_attach(pair[i]) >= 0);
  if (late)
    set_option(pair[1], which, 1);
  if (!early && !late) {
    toggler.socket = pair[1];
    toggler.which = which;
    atomic_store(&toggler.over, 0);
    EQUAL(pthread_create(&toggler.thread, NULL, toggle, NULL), 0);
  }
  for (int i = 0; i < ROUNDS; i++) {
    /* Plain bytes that fill their room exactly, then descriptors; and, of packets, ones without bytes. */
    EQUAL(send_message(pair[0], STRETCH, NULL, 0), 1);
    EQUAL(send_message(pair[0], 1, files, 3), 1);
    EQUAL(send_message(pair[0], STRETCH, files, 3), 1);
    sent_bytes += 2 * STRETCH + 1;
    sent_descriptors += 6;
    if (type != FDP_STREAM) {
      EQUAL(send_message(pair[0], 0, NULL, 0), 1);
      EQUAL(send_message(pair[0], 0, files, 3), 1);
      sent_descriptors += 3;
    }
    if (i % 2 == 0)
      EQUAL(take_all(pair[1], type, files), -EAGAIN);
  }
  EQUAL(fdp_end_sending(pair[0]), 0);
  do
    result = take_all(pair[1], type, files);
  while (type == FDP_DGRAM && result == -EAGAIN && bytes < sent_bytes);
  EQUAL(result, type == FDP_DGRAM ? -EAGAIN : 0);
  EQUAL(fdp_pending(pair[1]), type == FDP_DGRAM ? -EAGAIN : 0);
  EQUAL(bytes, sent_bytes);
  EQUAL(descriptors, sent_descriptors);
  if (!early && !late) {
    atomic_store(&toggler.over, 1);
    EQUAL(pthread_join(toggler.thread, NULL), 0);
  }
  close_all(files, 3);
  close_all(pair, 2);
}

static void change_nothing(enum fdp_type type) {
  for (enum when when = BEFORE; when < WHENS; when++)
    for (int i = 0; i < (when < ALL_BEFORE ? OPTIONS : 1); i++)
      try_one(type, when, when < ALL_BEFORE ? i : ALL);
}

static void streams(void) { change_nothing(FDP_STREAM); }
static void packets(void) { change_nothing(FDP_SEQPACKET); }
static void datagrams(void) { change_nothing(FDP_DGRAM); }

/* What is off, on and meant to be kept, in that order. */
static void detaching(void) {
  static const int kept[] = {SO_OOBINLINE, SO_PASSCRED, SO_PASSSEC};
  for (int value = 0; value < 2; value++) {
    int pair[2], found;
    socklen_t length = sizeof found;
    EQUAL(fdp_pair(FDP_STREAM, pair), 0);
    for (int i = 0; i < 3; i++)
      EQUAL(setsockopt(pair[1], SOL_SOCKET, kept[i], &value, sizeof value), 0);
    int attached = fdp_attach(pair[1]);
    EQUAL(getsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &found, &length), 0);
    EQUAL(found, FDP_PEEK ? 0 : found);
    fdp_detach(pair[1], attached);
    for (int i = 0; i < 3; i++) {
      EQUAL(getsockopt(pair[1], SOL_SOCKET, kept[i], &found, &length), 0);
      EQUAL(found, value);
    }
    if (!getsockopt(pair[1], SOL_SOCKET, SO_PEEK_OFF, &found, &length))
      EQUAL(found, -1);
    close_all(pair, 2);
  }
}

#if FDP_PEEK

/* A process that shares the socket may turn off the offset by which many messages are peeked at. */
static void offset_turned_off(void) {
  int pair[2], files[3], off = -1;
  bytes = descriptors = 0;
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < 3; i++)
    files[i] = new_file();
  for (int i = 0; i < 30; i++)
    EQUAL(send_message(pair[0], 1, &files[i % 3], 1), 1);
  if (setsockopt(pair[1], SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off))
    EQUAL(errno, ENOPROTOOPT); /* as in qemu-user, where there is none */
  EQUAL(take_all(pair[1], FDP_STREAM, files), -EAGAIN);
  EQUAL(descriptors, 30);
  close_all(files, 3);
  close_all(pair, 2);
}

#endif
#endif

const struct test option_tests[] = {
#ifdef FDP_BSD44
    {"whatever the system is asked to tell beside them, streams bring the same", streams},
    {"whatever the system is asked to tell beside them, packets bring the same", packets},
    {"whatever the system is asked to tell beside them, datagrams bring the same", datagrams},
    {"detaching puts back the options that attaching changed", detaching},
#if FDP_PEEK
    {"a peek offset that somebody turns off doubles nothing", offset_turned_off},
#endif
#endif
    {0}};
