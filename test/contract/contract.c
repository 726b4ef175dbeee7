/* Runs the tests, or those whose title contains an argument, and prints them as TAP. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct fdp_batch in;
uint8_t in_bytes[FDP_MAX_MESSAGES * STRIDE];
static struct fdp_batch out;

void check(int holds, const char *file, int line, const char *what) {
  if (holds)
    return;
  printf("# %s:%d: not so: %s\n", file, line, what);
  fflush(stdout);
  _exit(1);
}

void equal(long actual, long expected, const char *file, int line, const char *what) {
  if (actual == expected)
    return;
  printf("# %s:%d: %s is %ld, not %ld\n", file, line, what, actual, expected);
  fflush(stdout);
  _exit(1);
}

void pause_briefly(void) {
  struct timespec pause = {0, 1000000};
  nanosleep(&pause, NULL);
}

int open_count(void) {
  int count = 0;
  for (int fd = 0; fd < MOST_OPEN; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

int new_file(void) {
  int fd = memfd_create("contract", MFD_CLOEXEC);
  check(fd >= 0, __FILE__, __LINE__, "memfd_create works");
  return fd;
}

int is_same(int fd, int as) {
  struct stat one, other;
  return fstat(fd, &one) == 0 && fstat(as, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static void limit_parent(int slots) {
  struct rlimit limit;
  EQUAL(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit), 0);
  limit.rlim_cur = (rlim_t)slots;
  EQUAL(prlimit(getppid(), RLIMIT_NOFILE, &limit, NULL), 0);
}

void limit_table(int slots) {
  struct rlimit limit;
  EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = (rlim_t)slots;
  EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
  /* Valgrind keeps a limit of its own for the program that it runs. The kernel's can be set only from outside. */
  join_child(fork_child(limit_parent, slots));
}

int fill_table(int *filler) {
  int count = 0;
  while (count < MOST_OPEN && (filler[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
    count++;
  EQUAL(errno, EMFILE);
  return count;
}

void close_all(const int *fd, int count) {
  for (int i = 0; i < count; i++)
    EQUAL(fdp_close(fd[i]), 0);
}

void make_pair(enum fdp_type type, int pair[2]) {
  EQUAL(fdp_pair(type, pair), 0);
  for (int i = 0; i < 2; i++) {
    EQUAL(fdp_nonblocking(pair[i], 1), 0);
    CHECK(fdp_attach(pair[i]) >= 0);
  }
}

int send_message(int socket, int size, const int *fd, int count) {
  static uint8_t bytes[1 << 22];
  out.size[0] = size;
  out.count[0] = count;
  for (int i = 0; i < count; i++)
    out.fd[i] = fd[i];
  int sent = fdp_send(socket, bytes, &out, 1);
  if (sent == 1 && BYTES)
    EQUAL(out.tail, size);
  return sent;
}

int receive(int socket, int messages, int descriptors, int expected) {
  struct fdp_demand demand = {messages, descriptors, expected, FDP_MAX_FDS, STRIDE};
  return fdp_receive(socket, in_bytes, &demand, &in);
}

pid_t fork_child(void (*body)(int), int argument) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    body(argument);
    for (int fd = 3; fd < MOST_OPEN; fd++)
      close(fd); /* the parent counts its own */
    exit(0);
  }
  return pid;
}

void join_child(pid_t pid) {
  int status;
  EQUAL(waitpid(pid, &status, 0), pid);
  EQUAL(status, 0);
}

static const struct test *find(int index) {
  const struct test *const groups[] = {transfer_tests, full_tests,     packet_tests,     hostile_tests, option_tests,
                                       shared_tests,   endpoint_tests, descriptor_tests, hold_tests,    poller_tests,
                                       closing_tests,  tcp_tests,      slow_close_tests};
  /* Under valgrind threads run in turn, and one that waits in close(2) keeps its turn. */
  size_t count = sizeof groups / sizeof *groups - (getenv("FDPASSER_VALGRIND") != NULL);
  for (size_t g = 0; g < count; g++)
    for (const struct test *test = groups[g]; test->title; test++)
      if (index-- == 0)
        return test;
  return NULL;
}

static void run(int index) {
#if FDP_LANDING
  fdp_prepare_landing();
#endif
  int before = open_count();
  alarm(120); /* only a hang takes this long */
  find(index)->body();
  UNTIL(open_count() <= before);
  EQUAL(open_count(), before);
}

int main(int count, char **argument) {
  int failed = 0, shown = 0;
  const struct test *test;
  for (int i = 0; (test = find(i)); i++) {
    if (count > 1 && !strstr(test->title, argument[1]))
      continue;
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      setpgid(0, 0);
      run(i);
      return 0;
    }
    waitpid(pid, &status, 0);
    kill(-pid, SIGKILL); /* the children of a test that failed */
    printf("%s %d - %s\n", status ? "not ok" : "ok", ++shown, test->title);
    if (WIFSIGNALED(status))
      printf("# killed by signal %d\n", WTERMSIG(status));
    failed += status != 0;
  }
  printf("1..%d\n", shown);
  return failed > 0;
}
