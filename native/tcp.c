/* TCP listeners and connections: tcp(7), ip(7), ipv6(7). */
#include "accept.h"
#include "fdpasser.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

union address {
  struct sockaddr any;
  struct sockaddr_in four;
  struct sockaddr_in6 six;
  struct sockaddr_storage room;
};

static int parse(const char *text, uint16_t port, union address *address, socklen_t *size) {
  memset(address, 0, sizeof *address);
  if (inet_pton(AF_INET, text, &address->four.sin_addr) == 1) {
    address->four.sin_family = AF_INET;
    address->four.sin_port = htons(port);
    *size = sizeof address->four;
    return 0;
  }
  if (inet_pton(AF_INET6, text, &address->six.sin6_addr) == 1) {
    address->six.sin6_family = AF_INET6;
    address->six.sin6_port = htons(port);
    *size = sizeof address->six;
    return 0;
  }
  return -EINVAL;
}

static int describe(const union address *address, struct fdp_address *into) {
  memset(into, 0, sizeof *into);
  const void *number = &address->four.sin_addr;
  into->port = ntohs(address->four.sin_port);
  if (address->any.sa_family == AF_INET6) {
    number = &address->six.sin6_addr;
    into->port = ntohs(address->six.sin6_port);
  } else if (address->any.sa_family != AF_INET)
    return -EAFNOSUPPORT;
  into->is_ipv6 = address->any.sa_family == AF_INET6;
  return inet_ntop(address->any.sa_family, number, into->text, sizeof into->text) ? 0 : -errno;
}

static int set_flag(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) ? -errno : 0;
}

/* Lets several listeners share the connections of a port. Some systems have only SO_REUSEPORT, which gives all
 * connections to one of the listeners; that is not enough. */
static int share_port(int fd) {
#if defined(__linux__) && defined(SO_REUSEPORT)
  return set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1);
#elif defined(SO_REUSEPORT_LB)
  return set_flag(fd, SOL_SOCKET, SO_REUSEPORT_LB, 1);
#else
  (void)fd;
  return -EOPNOTSUPP;
#endif
}

static int new_socket(int family) {
#ifdef SOCK_CLOEXEC
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd < 0 ? -errno : fd;
#else
  return fdp_prepared_after(socket(family, SOCK_STREAM, 0), 1);
#endif
}

int fdp_tcp_listen(const char *text, int port, int flags, int backlog) {
  union address address;
  socklen_t size;
  int error = parse(text, (uint16_t)port, &address, &size);
  if (error)
    return error;
  int fd = new_socket(address.any.sa_family);
  if (fd < 0)
    return fd;
  error = set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (!error && flags & FDP_REUSE_PORT)
    error = share_port(fd);
  if (!error && address.any.sa_family == AF_INET6)
    error = set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, (flags & FDP_IPV6_ONLY) != 0);
  if (!error && (bind(fd, &address.any, size) || listen(fd, backlog)))
    error = -errno;
  if (error)
    fdp_close(fd);
  return error ? error : fd;
}

int fdp_tcp_name(int socket, struct fdp_address *name) {
  union address address = {0};
  socklen_t size = sizeof address;
  return getsockname(socket, &address.any, &size) ? -errno : describe(&address, name);
}

/* Whether an error of accept(2) concerns one connection only, so that the next one may be accepted. */
static int is_passed_over(int error) {
  switch (error) {
  case ECONNABORTED:
  case ENETDOWN:
  case EPROTO:
  case ENOPROTOOPT:
  case EHOSTDOWN:
  case EHOSTUNREACH:
  case ENETUNREACH:
#ifdef ENONET
  case ENONET:
#endif
    return 1;
  default:
    return 0;
  }
}

int fdp_accept_many(int listener, int most, int32_t *fd, struct fdp_address *peer) {
  int accepted = 0, error = fdp_nonblocking(listener, 1);
  if (error)
    return error;
  for (int i = 0; i < most; i++) {
    union address address = {0};
    socklen_t size = sizeof address;
    int next = fdp_next_connection(listener, &address.any, &size);
    if (next < 0 && is_passed_over(-next))
      continue;
    if (next < 0)
      return accepted > 0 ? accepted : next;
    /* macOS returns a connection that has already ended, without an address. */
    if (size == 0 || describe(&address, &peer[accepted])) {
      fdp_close(next);
      continue;
    }
    fd[accepted++] = next;
  }
  return accepted > 0 ? accepted : -ECONNABORTED;
}

#ifndef MSG_DONTWAIT
#define MSG_DONTWAIT 0
#endif

int fdp_peek_bytes(int socket, uint8_t *bytes, size_t length) {
  ssize_t found;
  do
    found = recv(socket, bytes, length, MSG_PEEK | MSG_DONTWAIT);
  while (found < 0 && errno == EINTR);
  return found < 0 ? -errno : (int)found;
}
