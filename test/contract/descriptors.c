/* What can be asked of one descriptor; the ledger; the table. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void expect_kind(int fd, int kind) {
  CHECK(fd >= 0);
  EQUAL(fdp_kind(fd), kind);
  EQUAL(fdp_close(fd), 0);
}

static void kinds(void) {
  int ends[2];
  expect_kind(new_file(), FDP_FILE);
  expect_kind(open("/", O_RDONLY), FDP_DIRECTORY);
  expect_kind(open("/dev/null", O_RDONLY), FDP_CHARACTER_DEVICE);
  expect_kind(posix_openpt(O_RDWR | O_NOCTTY), FDP_TTY);
  expect_kind(epoll_create1(0), FDP_ANONYMOUS);
  expect_kind(socket(AF_INET, SOCK_STREAM, 0), FDP_TCP);
  expect_kind(socket(AF_INET, SOCK_DGRAM, 0), FDP_UDP);
  expect_kind(socket(AF_UNIX, SOCK_STREAM, 0), FDP_UNIX_STREAM);
  expect_kind(socket(AF_UNIX, SOCK_DGRAM, 0), FDP_UNIX_DGRAM);
  expect_kind(socket(AF_UNIX, SOCK_SEQPACKET, 0), FDP_UNIX_SEQPACKET);
  expect_kind(socket(AF_NETLINK, SOCK_DGRAM, 0), FDP_SOCKET);
  EQUAL(pipe(ends), 0);
  expect_kind(ends[0], FDP_FIFO);
  expect_kind(ends[1], FDP_FIFO);
  EQUAL(fdp_kind(1000), -EBADF);
#ifdef O_PATH
  expect_kind(open("/dev/fd", O_PATH | O_NOFOLLOW), FDP_SYMLINK);
  int place = open("/", O_PATH);
  EQUAL(fdp_access(place), 0);
  EQUAL(fdp_listening(place), 0);
  EQUAL(fdp_close(place), 0);
#endif
  EQUAL(fdp_listening(1000), -EBADF);
}

static void sockets(void) {
  int file = new_file(), tcp = socket(AF_INET, SOCK_STREAM, 0), six = socket(AF_INET6, SOCK_STREAM, 0);
  EQUAL(fdp_domain(tcp), AF_INET);
  EQUAL(fdp_domain(file), -ENOTSOCK);
  EQUAL(fdp_ipv6(tcp), 0);
  if (six >= 0) { /* a machine may be without */
    EQUAL(fdp_ipv6(six), 1);
    EQUAL(fdp_close(six), 0);
  }
  EQUAL(fdp_listening(tcp), 0);
  EQUAL(listen(tcp, 1), 0);
  EQUAL(fdp_listening(tcp), 1);
  EQUAL(fdp_listening(file), 0);
  EQUAL(fdp_listening(1000), -EBADF);
  EQUAL(fdp_close(tcp), 0);
  EQUAL(fdp_close(file), 0);
}

static void accesses(void) {
  int read_only = open("/dev/null", O_RDONLY), write_only = open("/dev/null", O_WRONLY),
      both = open("/dev/null", O_RDWR);
  EQUAL(fdp_access(read_only), FDP_READ);
  EQUAL(fdp_access(write_only), FDP_WRITE);
  EQUAL(fdp_access(both), FDP_READ | FDP_WRITE);
  EQUAL(fdp_access(1000), -EBADF);
  EQUAL(fdp_close(read_only), 0);
  EQUAL(fdp_close(write_only), 0);
  EQUAL(fdp_close(both), 0);
}

static void duplicates(void) {
  int file = new_file(), copy = fdp_dup(file);
  CHECK(copy >= 0 && copy != file);
  CHECK(is_same(copy, file));
  EQUAL(fcntl(copy, F_GETFD), FD_CLOEXEC);
  EQUAL(lseek(file, 7, SEEK_SET), 7);
  EQUAL(lseek(copy, 0, SEEK_CUR), 7); /* one open file */
  EQUAL(fdp_close(file), 0);
  EQUAL(fdp_check(file), -EBADF);
  EQUAL(fdp_close(file), -EBADF);
  EQUAL(fdp_check(copy), 0);
  EQUAL(fdp_close(copy), 0);
  EQUAL(fdp_dup(copy), -EBADF);
}

static void flags(void) {
  int ends[2];
  EQUAL(pipe(ends), 0);
  EQUAL(fcntl(ends[0], F_GETFD), 0);
  EQUAL(fdp_close_on_exec(ends[0]), 0);
  EQUAL(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
  int copy = fdp_dup(ends[0]);
  EQUAL(fdp_nonblocking(ends[0], 1), 0);
  CHECK(fcntl(copy, F_GETFL) & O_NONBLOCK); /* of the open file, so its duplicates see it */
  EQUAL(fdp_nonblocking(copy, 0), 0);
  EQUAL(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
  EQUAL(fdp_close_on_exec(1000), -EBADF);
  EQUAL(fdp_nonblocking(1000, 1), -EBADF);
  EQUAL(fdp_close(copy), 0);
  close_all(ends, 2);
}

static void ledgers(void) {
  struct fdp_ledger one, other;
  fdp_ledger_open(&one);
  fdp_ledger_open(&other);
  int32_t received[2] = {new_file(), new_file()};
  int others = new_file(), given_up = new_file(), high = fcntl(others, F_DUPFD_CLOEXEC, 900);
  fdp_ledger_release(&one, 5000); /* was never in it */
  fdp_ledger_take(&one, received, 2);
  EQUAL(fdp_ledger_adopt(&one, others, FDP_OTHERS), 0);
  EQUAL(fdp_ledger_adopt(&one, given_up, FDP_OURS), 0);
  EQUAL(fdp_ledger_adopt(&one, high, FDP_OURS), 0);
  EQUAL(fdp_ledger_adopt(&one, 5000, FDP_OURS), -EBADF);
  EQUAL(fdp_ledger_adopt(&one, high, FDP_OURS), -EEXIST);
  EQUAL(fdp_ledger_adopt(&other, received[0], FDP_OURS), -EEXIST);
  EQUAL(fdp_ledger_close(&other, received[0]), -EBADF); /* another's */
  EQUAL(fdp_check(received[0]), 0);
  fdp_ledger_release(&one, given_up);
  EQUAL(fdp_ledger_adopt(&other, given_up, FDP_OURS), 0);
  EQUAL(fdp_ledger_close(&one, received[0]), 0);
  EQUAL(fdp_ledger_close(&one, received[0]), -EBADF);
  fdp_ledger_end(&one);
  EQUAL(fdp_check(received[1]), -EBADF);
  EQUAL(fdp_check(high), -EBADF);
  EQUAL(fdp_check(others), 0);
  EQUAL(fdp_check(given_up), 0);
  fdp_ledger_end(&one); /* nothing more to close */
  EQUAL(fdp_ledger_adopt(&other, others, FDP_OURS), 0);
  fdp_ledger_end(&other);
  EQUAL(fdp_check(others), -EBADF);
}

static void loans(void) {
  struct fdp_ledger one, other;
  fdp_ledger_open(&one);
  fdp_ledger_open(&other);
  int32_t fd[3] = {new_file(), new_file(), new_file()};
  fdp_ledger_take(&one, fd, 3);
  EQUAL(fdp_ledger_lend(&one, 5000), -EBADF);
  int64_t identity = fdp_ledger_lend(&other, fd[0]);
  CHECK(identity > 0 && identity == fdp_identity(fd[0]) && identity != fdp_identity(fd[1]));
  EQUAL(fdp_ledger_lend(&one, fd[0]), identity);
  EQUAL(fdp_ledger_is_lent(fd[0]), 1);
  EQUAL(fdp_ledger_is_lent(fd[1]), 0);
  EQUAL(fdp_ledger_close(&one, fd[0]), 0);
  EQUAL(fdp_check(fd[0]), 0);
  EQUAL(fdp_ledger_lend(&one, fd[0]), -EEXIST);
  EQUAL(fdp_ledger_adopt(&other, fd[0], FDP_OURS), -EEXIST);
  EQUAL(fdp_ledger_end_loan(&one, fd[0], identity), 0);
  EQUAL(fdp_ledger_end_loan(&other, fd[0], identity), 1);
  EQUAL(fdp_check(fd[0]), -EBADF);

  /* Several at once, and the end of one who borrows. */
  CHECK(fdp_ledger_lend(&other, fd[1]) > 0 && fdp_ledger_lend(&other, fd[1]) > 0);
  int32_t both[2] = {fd[1], fd[2]};
  fdp_ledger_close_all(&one, both, 2);
  EQUAL(fdp_check(fd[1]), 0);
  EQUAL(fdp_check(fd[2]), -EBADF);
  fdp_ledger_end(&other);
  EQUAL(fdp_check(fd[1]), -EBADF);
  fdp_ledger_end(&one);
}

/* Each of the three ways in which a number that somebody closed becomes another file's. */
static void counted_anew(void) {
  struct fdp_ledger owner, borrower;
  fdp_ledger_open(&owner);
  fdp_ledger_open(&borrower);
  int file = new_file(), fd = fdp_dup(file);
  CHECK(fdp_ledger_lend(&borrower, fd) > 0);
  EQUAL(dup2(file, fd), fd); /* closed behind it, and the same file came under the same number */
  fdp_ledger_take(&owner, &fd, 1);
  CHECK(fdp_ledger_lend(&borrower, fd) > 0);
  EQUAL(fdp_ledger_close(&owner, fd), 0);
  EQUAL(fdp_check(fd), 0);
  fdp_ledger_end(&borrower);
  EQUAL(fdp_check(fd), -EBADF);
  EQUAL(fdp_close(file), 0);
  fdp_ledger_end(&owner);
}

static void stale_loans(void) {
  struct fdp_ledger one, other;
  fdp_ledger_open(&one);
  fdp_ledger_open(&other);
  for (int way = 0; way < 3; way++) {
    int32_t fd = new_file();
    int64_t before = fdp_ledger_lend(&one, fd);
    EQUAL(close(fd), 0);
    EQUAL(new_file(), fd);
    CHECK(fdp_identity(fd) != before);
    if (way == 0)
      fdp_ledger_take(&other, &fd, 1);
    else if (way == 1)
      EQUAL(fdp_ledger_adopt(&other, fd, FDP_OURS), 0);
    else
      CHECK(fdp_ledger_lend(&other, fd) > 0);
    EQUAL(fdp_ledger_is_lent(fd), way == 2);
    EQUAL(fdp_ledger_end_loan(&one, fd, before), 0);
    EQUAL(fdp_ledger_is_lent(fd), way == 2);
    if (way == 2) {
      EQUAL(fdp_ledger_end_loan(&other, fd, fdp_identity(fd)), 0);
      EQUAL(fdp_close(fd), 0);
    } else
      EQUAL(fdp_ledger_close(&other, fd), 0);
    EQUAL(fdp_check(fd), -EBADF);
  }
  fdp_ledger_end(&one);
  fdp_ledger_end(&other);
}

static void *end_as_worker(void *number) {
  struct fdp_ledger ledger;
  int32_t fd = *(int32_t *)number, files[2] = {new_file(), new_file()};
  fdp_ledger_open(&ledger);
  EQUAL(fdp_ledger_adopt(&ledger, fd, FDP_PERHAPS), 0);
  EQUAL(fdp_ledger_adopt(&ledger, files[0], FDP_PERHAPS), 0);
  EQUAL(fdp_ledger_adopt(&ledger, files[1], FDP_PERHAPS), 0);
  EQUAL(fdp_vacate(files[1]), 0); /* closed before the end */
  fdp_ledger_release(&ledger, files[1]);
  close(files[1]);
  fdp_vacated(files[1]);
  fdp_ledger_end(&ledger);
  EQUAL(fdp_check(fd), 0); /* something stands there */
  close(files[0]);         /* by the runtime, which had given it out */
  int32_t again = new_file();
  EQUAL(again, files[0] < files[1] ? files[0] : files[1]);
  *(int32_t *)number = again;
  return NULL;
}

static void threads_end(void) {
  int before = open_count();
  int32_t fd = new_file();
  int32_t number = fd, copy = fdp_dup(fd);
  pthread_t thread;
  EQUAL(pthread_create(&thread, NULL, end_as_worker, &number), 0);
  EQUAL(pthread_join(thread, NULL), 0);
  EQUAL(fdp_check(fd), -EBADF);
  EQUAL(fdp_check(number), 0); /* no longer the runtime's, but another owner's */
  EQUAL(fdp_close(number), 0);
  EQUAL(fdp_close(copy), 0);
  EQUAL(open_count(), before);
}

static void table(void) {
  int before = open_count();
  EQUAL(fdp_table_grow(1024), 0);
  UNTIL(fdp_table_slots() >= 1024);
  EQUAL(open_count(), before);
}

static void table_below_a_limit(void) {
  struct rlimit limit;
  EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit_table(200); /* less than any table has */
  EQUAL(fdp_table_slots(), INT32_MAX);
  EQUAL(fdp_table_grow(1024), 0);
  limit_table((int)limit.rlim_max < 4096 ? (int)limit.rlim_max : 4096);
  EQUAL(fdp_table_slots(), 256);
  EQUAL(fdp_table_grow(512), 0);
  UNTIL(fdp_table_slots() >= 512);
}

const struct test descriptor_tests[] = {
    {"every kind of descriptor is told", kinds},
    {"listening, family and IPv6 are told of sockets", sockets},
    {"how a file was opened is told", accesses},
    {"a duplicate is close-on-exec and shares the open file; closing a closed one is EBADF", duplicates},
    {"close-on-exec is the descriptor's, O_NONBLOCK the open file's", flags},
    {"a ledger closes what it owns, and nothing else", ledgers},
    {"what is lent is closed when the last loan is over, whoever ends it", loans},
    {"loans of what was closed behind them hold up nobody who has the number next", stale_loans},
    {"more loans are over at an end than the registry still counted", counted_anew},
    {"a thread that ends closes what its runtime has not closed, and nothing else", threads_end},
    {"the table grows ahead, and leaves nothing open", table},
    {"a table that its limit keeps small grows ahead once that is raised", table_below_a_limit},
    {0}};
