/* Closing without ever waiting for it. */
#include "lane.h"
#include "nature.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

static int close_here(int fd) {
  /* Never repeated after EINTR: Linux has freed the number by then (close(2)), and another thread may have it. */
  return close(fd) && errno != EINTR ? -errno : 0;
}

/* Closes consecutive numbers by one call, if the system has it (close_range(2), Linux 5.9) and a sandbox allows it. */
void fdp_close_rows(const int32_t *fd, int count) {
  for (int i = 0, row; i < count; i += row) {
    for (row = 1; i + row < count && fd[i + row] == fd[i] + row; row++)
      ;
#ifdef SYS_close_range
    if (row > 1 && syscall(SYS_close_range, (unsigned)fd[i], (unsigned)fd[i + row - 1], 0) == 0)
      continue;
#endif
    for (int k = 0; k < row; k++)
      close_here(fd[i + k]);
  }
}

/* ---- what was made here, and may be slow nevertheless ------------------------------------------------------------ */

static int is_readable(int fd) {
  struct pollfd state = {.fd = fd, .events = POLLIN};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLIN);
}

static int is_stream(int fd) {
  int type;
  socklen_t length = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

/* Whether anything unread is in a Unix socket. If that cannot be told, the answer is yes. */
static int has_unread(int fd) {
  int bytes;
  /* Counts instead of peeking, because whoever shares the socket may be peeking. A stream that has ended is readable
   * too, so that is not asked. */
  if (is_stream(fd) && ioctl(fd, FIONREAD, &bytes) == 0)
    return bytes > 0;
  return is_readable(fd);
}

/* Whether descriptors are in a Unix socket. */
static int has_descriptors(int fd) {
#ifdef __linux__
  /* unix_show_fdinfo in Linux's net/unix/af_unix.c. Nothing else takes nothing and also sees what is behind the first
   * message. */
  char path[40], text[512];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  int info = open(path, O_RDONLY | O_CLOEXEC);
  if (info < 0)
    return 1;
  ssize_t length = read(info, text, sizeof text - 1);
  close(info);
  text[length < 0 ? 0 : length] = 0;
  return strstr(text, "scm_fds: 0\n") == NULL;
#else
  (void)fd;
  return 1;
#endif
}

static int lingers(int fd) {
  struct linger linger;
  socklen_t length = sizeof linger;
  return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length) == 0 && linger.l_onoff && linger.l_linger > 0;
}

/* Whether the last close of a socket may wait. SO_LINGER makes that of a connection wait until bytes are acknowledged
 * (socket(7)). That of a Unix socket is also the last close of the descriptors in it that nobody has received. */
static int may_wait(int fd) {
  if (fdp_domain(fd) != AF_UNIX)
    return lingers(fd);
  /* Linux 5.10 does not count the descriptors in a backlog. */
  return fdp_listening(fd) ? is_readable(fd) : has_unread(fd) && has_descriptors(fd);
}

/* ---- where a number is closed ------------------------------------------------------------------------------------ */

enum where { NOWHERE, HERE, BY_LANDING, BY_A_THREAD };

struct verdict {
  enum where where;
  fdp_origin lane;
};

/*
 * A peer can change everything about a file that it shares, even between a question and the close. So for what came
 * from a peer, or has one at its other end, only its type counts.
 */
#if FDP_LANDING

static enum where by_cost(int fd, int foreign) {
  switch (fdp_cost(fd)) {
  case FDP_CLOSE_NOTHING:
    return NOWHERE;
  case FDP_CLOSE_QUICK:
    return HERE;
  case FDP_CLOSE_LAST:
    return foreign ? BY_LANDING : HERE;
  case FDP_CLOSE_SOCKET:
    return foreign || may_wait(fd) ? BY_LANDING : HERE;
  case FDP_CLOSE_EACH:
    return foreign ? BY_A_THREAD : HERE;
  default:
    return BY_LANDING;
  }
}

#else

static enum where by_cost(int fd, int foreign) {
  (void)foreign;
  return fdp_domain(fd) >= 0 && may_wait(fd) ? BY_A_THREAD : HERE;
}

#endif

/* Decides where to close a number. Also forgets the number's origin, because somebody else is about to have the number.
 */
static struct verdict judge(int fd) {
  fdp_origin from = fdp_origin_of(fd), through = fdp_origin_through(fd), lane = from;
  if (from == FDP_TRUSTED) {
    int waits = lingers(fd); /* an accepted TCP connection */
    fdp_set_origin(fd, 0);
    return (struct verdict){waits ? BY_A_THREAD : HERE, waits ? fdp_new_origin() : 0};
  }
  enum where where = by_cost(fd, from || through);
  if (from || through)
    fdp_set_origin(fd, 0);
  /* A connection waits in the lane of what came through it only if more of that is still in it. */
  if (where != HERE && through)
    lane = has_descriptors(fd) ? through : 0;
  return (struct verdict){where, where != HERE && !lane ? fdp_new_origin() : lane};
}

/* Closes a socket here if there is no thread. Others who share the socket lose its lingering, so a thread is preferred.
 */
static int close_without_lingering(int fd) {
  struct linger off = {0, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);
  return close_here(fd);
}

static int hand_over(fdp_origin lane, int fd) { return fdp_hand_over(lane, fd) ? close_without_lingering(fd) : 0; }

static int land(fdp_origin lane, const int32_t *fd, int count) {
  int done = 0, result = 0;
#if FDP_LANDING
  done = fdp_land(lane, fd, count);
#endif
  for (; done < count; done++)
    result = hand_over(lane, fd[done]);
  return result;
}

/* ---- the contract ------------------------------------------------------------------------------------------------ */

int fdp_close(int fd) {
  struct verdict verdict = judge(fd);
  switch (verdict.where) {
  case NOWHERE:
    return -EBADF;
  case HERE:
    return close_here(fd);
  case BY_LANDING:
    return land(verdict.lane, &fd, 1);
  default:
    return hand_over(verdict.lane, fd);
  }
}

/* Closes as many of the first numbers as can be closed together, and returns how many. */
static int close_some(const int32_t *fd, int count) {
  int32_t here[FDP_MAX_FDS], landing[FDP_MAX_FDS];
  int here_count = 0, landing_count = 0, i;
  fdp_origin lane = 0;
  for (i = 0; i < count && i < FDP_MAX_FDS; i++) {
    struct verdict verdict = judge(fd[i]);
    if (verdict.where == HERE)
      here[here_count++] = fd[i];
    else if (verdict.where == BY_A_THREAD)
      hand_over(verdict.lane, fd[i]);
    else if (verdict.where == BY_LANDING) {
      if (landing_count > 0 && verdict.lane != lane) {
        land(lane, landing, landing_count);
        landing_count = 0;
      }
      lane = verdict.lane;
      landing[landing_count++] = fd[i];
    }
  }
  if (landing_count > 0)
    land(lane, landing, landing_count);
  if (here_count > 0)
    fdp_close_rows(here, here_count);
  return i;
}

void fdp_close_all(const int32_t *fd, int count) {
  for (int done = 0; done < count;)
    done += close_some(fd + done, count - done);
}

#if FDP_LANDING

void fdp_close_peeked(int socket, const int32_t *fd, int count) {
  for (int i = 0; i < count; i++) {
    if (fdp_cost(fd[i]) == FDP_CLOSE_EACH && fdp_hand_over(fdp_origin_through(socket), fd[i]) == 0)
      continue;
    close_here(fd[i]);
  }
}

#endif

void fdp_close_lost(int socket, const int32_t *fd, int count) {
  for (int i = 0; i < count; i++)
    fdp_set_origin(fd[i], fdp_origin_through(socket));
  fdp_close_all(fd, count);
}

/* ---- sockets that nobody else has -------------------------------------------------------------------------------- */

#if FDP_LANDING

enum { AT_ONCE = 64, MOST_ROUNDS = 32 };

/* Takes connections out of the backlog of a listener that has been shut down. Returns whether none is left. */
static int empty_backlog(int listener, fdp_origin origin) {
  int32_t fd[AT_ONCE];
  for (int round = 0, last = 0; round < MOST_ROUNDS; round++) {
    int count = 0;
    while (count < AT_ONCE && (last = fdp_accept(listener)) >= 0) {
      fdp_set_origin(last, origin);
      fd[count++] = last;
    }
    if (count > 0)
      fdp_close_all(fd, count);
    if (last < 0)
      return last == -EINVAL || last == -EAGAIN;
  }
  return 0;
}

/* Does the same with the messages in a datagram socket. */
static int empty_queue(int socket, fdp_origin origin) {
  enum { STRIDE = 1 << 16 };
  const struct fdp_demand one = {1, 1, 1, FDP_MAX_FDS, STRIDE};
  struct {
    struct fdp_batch batch;
    uint8_t bytes[STRIDE];
  } *room = malloc(sizeof *room);
  int result = room && fdp_attach(socket) >= 0 ? 1 : -ENOMEM;
  for (int left = AT_ONCE * MOST_ROUNDS; left > 0 && result > 0; left--) {
    result = fdp_receive(socket, room->bytes, &one, &room->batch);
    for (int i = 0; result > 0 && i < room->batch.count[0]; i++)
      fdp_set_origin(room->batch.fd[i], origin);
    if (result > 0)
      fdp_close_all(room->batch.fd, room->batch.count[0]);
  }
  free(room);
  return result == 0 || result == -EAGAIN;
}

/*
 * Whether a socket can be closed here without waiting; shuts it down to find out. Nothing more comes in after that, so
 * a socket that is then found empty stays empty, and its close cannot wait. The peer is told of the end as by a close.
 * But if something is unread, the peer must be told that, and only the close itself does.
 */
static int is_quickly_closed(int fd, fdp_origin origin) {
  int type;
  socklen_t length = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length))
    return 0;
  if (fdp_listening(fd) == 1)
    return shutdown(fd, SHUT_RDWR) == 0 && empty_backlog(fd, origin);
  if (type == SOCK_DGRAM)
    return shutdown(fd, SHUT_RDWR) == 0 && empty_queue(fd, origin);
  if (has_unread(fd))
    return 0;
  shutdown(fd, SHUT_RDWR);
  return type == SOCK_STREAM && !has_unread(fd) ? 1 : !has_descriptors(fd);
}

int fdp_close_alone(int fd) {
  fdp_origin through = fdp_origin_through(fd), origin = through ? through : fdp_new_origin();
  if (fdp_domain(fd) != AF_UNIX || !is_quickly_closed(fd, origin))
    return fdp_close(fd);
  fdp_set_origin(fd, 0);
  return close_here(fd);
}

#else

int fdp_close_alone(int fd) { return fdp_close(fd); }

#endif
