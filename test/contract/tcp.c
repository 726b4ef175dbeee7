/* TCP: listening, accepting many at a time, and peeking at the first bytes. */
#include "contract.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MANY = 100, MOST = 64 };

static struct fdp_address peer[MOST];
static int32_t accepted[MOST];
static int client[MANY], filler[MOST_OPEN];

static int new_listener(void) {
  int listener = fdp_tcp_listen("127.0.0.1", 0, 0, 128);
  CHECK(listener >= 0);
  return listener;
}

static int port_of(int socket) {
  struct fdp_address name;
  EQUAL(fdp_tcp_name(socket, &name), 0);
  return name.port;
}

static int connect_to(int listener) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(listener))};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  EQUAL(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
  return fd;
}

/* Each has the address of one client, in the order in which they came. */
static void check_accepted(int count, int from) {
  for (int i = 0; i < count; i++) {
    EQUAL(fcntl(accepted[i], F_GETFD), FD_CLOEXEC);
    CHECK(fcntl(accepted[i], F_GETFL) & O_NONBLOCK);
    CHECK(!strcmp(peer[i].text, "127.0.0.1"));
    EQUAL(peer[i].is_ipv6, 0);
    EQUAL(peer[i].port, port_of(client[from + i]));
    EQUAL(fdp_close(accepted[i]), 0);
  }
}

static void many(void) {
  int listener = new_listener();
  EQUAL(fcntl(listener, F_GETFD), FD_CLOEXEC);
  EQUAL(fdp_accept_many(listener, MOST, accepted, peer), -EAGAIN);
  for (int i = 0; i < MANY; i++)
    client[i] = connect_to(listener);
  EQUAL(fdp_accept_many(listener, MOST, accepted, peer), MOST);
  check_accepted(MOST, 0);
  EQUAL(fdp_accept_many(listener, MOST, accepted, peer), MANY - MOST);
  check_accepted(MANY - MOST, MOST);
  EQUAL(fdp_accept_many(listener, MOST, accepted, peer), -EAGAIN);
  close_all(client, MANY);
  EQUAL(fdp_close(listener), 0);
}

static void no_room(void) {
  enum { WAITING = 10, ROOM = 3 };
  int listener = new_listener();
  for (int i = 0; i < WAITING; i++)
    client[i] = connect_to(listener);
  limit_table(64);
  int count = fill_table(filler);
  EQUAL(fdp_accept_many(listener, MOST, accepted, peer), -EMFILE);
  for (int i = 0; i < ROOM; i++)
    EQUAL(fdp_close(filler[--count]), 0);
  EQUAL(fdp_accept_many(listener, MOST, accepted, peer), ROOM);
  check_accepted(ROOM, 0);
  close_all(filler, count);
  EQUAL(fdp_accept_many(listener, MOST, accepted, peer), WAITING - ROOM);
  check_accepted(WAITING - ROOM, ROOM);
  close_all(client, WAITING);
  EQUAL(fdp_close(listener), 0);
}

static void made_blocking(void) {
  int listener = new_listener();
  EQUAL(fdp_nonblocking(listener, 0), 0);
  EQUAL(fdp_accept_many(listener, MOST, accepted, peer), -EAGAIN);
  EQUAL(fdp_close(listener), 0);
}

static void shared_port(void) {
#ifdef __linux__
  int one = fdp_tcp_listen("127.0.0.1", 0, FDP_REUSE_PORT, 8);
  CHECK(one >= 0);
  int port = port_of(one);
  EQUAL(fdp_tcp_listen("127.0.0.1", port, 0, 8), -EADDRINUSE);
  int other = fdp_tcp_listen("127.0.0.1", port, FDP_REUSE_PORT, 8);
  CHECK(other >= 0);
  EQUAL(fdp_close(one), 0);
  EQUAL(fdp_close(other), 0);
#endif
  EQUAL(fdp_tcp_listen("no address", 0, 0, 8), -EINVAL);
}

static void six(void) {
  struct fdp_address name;
  int listener = fdp_tcp_listen("::1", 0, FDP_IPV6_ONLY, 8);
  if (listener == -EAFNOSUPPORT || listener == -EADDRNOTAVAIL)
    return; /* no IPv6 here */
  CHECK(listener >= 0);
  EQUAL(fdp_tcp_name(listener, &name), 0);
  EQUAL(name.is_ipv6, 1);
  CHECK(!strcmp(name.text, "::1"));
  EQUAL(fdp_close(listener), 0);
}

static void first_bytes(void) {
  uint8_t bytes[16];
  int listener = new_listener();
  client[0] = connect_to(listener);
  EQUAL(fdp_accept_many(listener, 1, accepted, peer), 1);
  EQUAL(fdp_peek_bytes(accepted[0], bytes, sizeof bytes), -EAGAIN);
  EQUAL(write(client[0], "hello", 5), 5);
  UNTIL(fdp_peek_bytes(accepted[0], bytes, sizeof bytes) == 5);
  CHECK(!memcmp(bytes, "hello", 5));
  EQUAL(fdp_peek_bytes(accepted[0], bytes, 2), 2);
  EQUAL(read(accepted[0], bytes, sizeof bytes), 5);
  CHECK(!memcmp(bytes, "hello", 5));
  EQUAL(close(client[0]), 0);
  UNTIL(fdp_peek_bytes(accepted[0], bytes, sizeof bytes) == 0);
  EQUAL(fdp_close(accepted[0]), 0);
  EQUAL(fdp_close(listener), 0);
}

const struct test tcp_tests[] = {
    {"one call accepts many connections with their addresses, and no more than it is asked for", many},
    {"connections that find no slot wait in the backlog, and the others are accepted", no_room},
    {"a TCP listener that somebody has made blocking keeps nobody waiting", made_blocking},
    {"listeners share a port if all ask for it, and what is no address is refused", shared_port},
    {"a listener of IPv6 tells its address", six},
    {"a peek shows the first bytes and leaves them to be read", first_bytes},
    {0}};
