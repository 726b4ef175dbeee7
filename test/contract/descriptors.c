/* What can be asked of one descriptor; the ledger; the table. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
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

static void locks(void) {
  int one = open("/tmp", O_RDONLY), other = open("/tmp", O_RDONLY);
  EQUAL(fdp_lock(one), 0);
  EQUAL(fdp_lock(other), -EAGAIN);
  EQUAL(fdp_close(one), 0);
  EQUAL(fdp_lock(other), 0);
  EQUAL(fdp_close(other), 0);
}

static void ledger(void) {
  struct fdp_ledger ledger = {0};
  int ours = new_file(), others = new_file(), given_up = new_file(), high = fcntl(ours, F_DUPFD_CLOEXEC, 900);
  EQUAL(fdp_ledger_has(&ledger, ours), 0);
  EQUAL(fdp_ledger_has(&ledger, -1), 0);
  fdp_ledger_remove(&ledger, 5000); /* was never in it */
  EQUAL(fdp_ledger_add(&ledger, ours, FDP_OURS), 0);
  EQUAL(fdp_ledger_add(&ledger, others, FDP_OTHERS), 0);
  EQUAL(fdp_ledger_add(&ledger, given_up, FDP_OURS), 0);
  EQUAL(fdp_ledger_add(&ledger, high, FDP_OURS), 0);
  CHECK(fdp_ledger_has(&ledger, ours) && fdp_ledger_has(&ledger, others) && fdp_ledger_has(&ledger, high));
  CHECK(!fdp_ledger_has(&ledger, high - 1) && !fdp_ledger_has(&ledger, high + 1));
  fdp_ledger_remove(&ledger, given_up);
  EQUAL(fdp_ledger_has(&ledger, given_up), 0);
  fdp_ledger_close_all(&ledger);
  EQUAL(fdp_check(ours), -EBADF);
  EQUAL(fdp_check(high), -EBADF);
  EQUAL(fdp_check(others), 0);
  EQUAL(fdp_check(given_up), 0);
  EQUAL(fdp_ledger_has(&ledger, others), 0);
  fdp_ledger_close_all(&ledger); /* nothing more to close */
  EQUAL(fdp_close(others), 0);
  EQUAL(fdp_close(given_up), 0);
}

static void table(void) {
  int before = open_count();
  EQUAL(fdp_table_grow(1024), 0);
  UNTIL(fdp_table_slots() >= 1024);
  EQUAL(open_count(), before);
}

const struct test descriptor_tests[] = {
    {"every kind of descriptor is told", kinds},
    {"listening, family and IPv6 are told of sockets", sockets},
    {"how a file was opened is told", accesses},
    {"a duplicate is close-on-exec and shares the open file; closing a closed one is EBADF", duplicates},
    {"close-on-exec is the descriptor's, O_NONBLOCK the open file's", flags},
    {"one open file alone holds a lock", locks},
    {"the ledger closes what it owns, and nothing else", ledger},
    {"the table grows ahead, and leaves nothing open", table},
    {0}};
