/*
 * Tests of native/fdpasser.h, function by function. Each runs in a process of its own, which must end in order and
 * leave open exactly what was open before.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#include "../../native/transport/transport.h"

#include <sys/types.h>

struct test {
  const char *title; /* a fact */
  void (*body)(void);
};

/* The last test has no title. */
extern const struct test transfer_tests[], full_tests[], packet_tests[], hostile_tests[], option_tests[],
    shared_tests[], endpoint_tests[], descriptor_tests[], hold_tests[], poller_tests[], closing_tests[],
    slow_close_tests[], tcp_tests[];

/* Unless the condition holds, ends the test and reports the place and the number. */
#define CHECK(condition) check((condition) != 0, __FILE__, __LINE__, #condition)
#define EQUAL(actual, expected) equal((long)(actual), (long)(expected), __FILE__, __LINE__, #actual)
void check(int holds, const char *file, int line, const char *what);
void equal(long actual, long expected, const char *file, int line, const char *what);

/* Waits, until a deadline, for a condition without an event. */
#define UNTIL(condition)                                                     \
  do                                                                         \
    for (int round_ = 0;; round_++) {                                        \
      if (condition)                                                         \
        break;                                                               \
      check(round_ < 5000, __FILE__, __LINE__, "in 5 seconds, " #condition); \
      pause_briefly();                                                       \
    }                                                                        \
  while (0)
void pause_briefly(void);

int open_count(void);        /* how many descriptors are open */
int new_file(void);          /* a file unlike every other */
int is_same(int fd, int as); /* by device and inode */
void limit_table(int slots); /* the soft limit of this process */
int fill_table(int *filler); /* opens until nothing more can be opened; returns how many */
void close_all(const int *fd, int count);
enum { MOST_OPEN = 1400 }; /* how many `filler` may become */

/* What every interface has: a type of socket, or of stream; and how many bytes a message then brings. */
#ifdef FDP_SYSV
#define ANY_TYPE FDP_SEQPACKET
enum { BYTES = 0 };
#else
#define ANY_TYPE FDP_STREAM
enum { BYTES = 1 };
#endif

/* Both ends are non-blocking and attached. */
void make_pair(enum fdp_type type, int pair[2]);

/* Sends one message, of `size` bytes; returns what fdp_send does. */
int send_message(int socket, int size, const int *fd, int count);

/* Receives up to so many messages, with room for 4096 bytes each, into `in` and `in_bytes`. */
int receive(int socket, int messages, int descriptors, int expected);
enum { STRIDE = 4096 };
extern struct fdp_batch in;
extern uint8_t in_bytes[FDP_MAX_MESSAGES * STRIDE];

/* Forks; the child runs the body and ends in order, which join_child asserts. */
pid_t fork_child(void (*body)(int), int argument);
void join_child(pid_t pid);

#endif
