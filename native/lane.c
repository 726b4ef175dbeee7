/*
 * To land a descriptor is to send it through a pair of sockets to the keeper: a thread that has a descriptor table of
 * its own. Then the close of its number here is not the last close. So that close returns at once, and frees the
 * number. The keeper packs what it receives into one socket for each lane. When a lane's turn comes, a thread closes
 * that socket, and the kernel drops what is in it in that thread.
 *
 * Some files need more than the last close: their file system acts at each one. The number of such a file is handed
 * over to a thread that shares this table.
 */
#include "lane.h"
#include "detached.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

enum {
  MOST_THREADS = 256,
  MOST_WAITING = 1024,   /* descriptors of one origin */
  MOST_HANDED_OVER = 16, /* descriptors of one origin whose numbers stay taken */
  IDLE = 500,            /* milliseconds that a thread waits for more work */
  BUCKETS = 256,
};

struct place {
  struct place *next;
  int out, in; /* the end that is sent into, and the other one; `out` is -1 when the place is full */
  int count;   /* how many descriptors are in it */
};

struct number {
  struct number *next;
  int fd;
};

struct lane {
  struct lane *next; /* in its bucket */
  struct lane *next_ready;
  fdp_origin origin;
  struct place *first_place, *last_place;
  struct number *first_number, *last_number;
  int waiting; /* descriptors from the time they are left here until their close has ended */
  int numbers; /* how many of these are numbers */
  int at_work; /* a thread serves it, or it waits for one */
};

/* The lanes of one descriptor table, and the threads that share that table. */
struct yard {
  struct lane *lanes[BUCKETS];
  struct lane *first_ready, *last_ready;
  atomic_int waiting, numbers, places; /* sums over all lanes */
  int threads, idle;                   /* `idle` also counts a thread that is being started */
  pthread_cond_t work;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct yard here = {.work = PTHREAD_COND_INITIALIZER};

/* ---- lanes ------------------------------------------------------------------------------------------------------- */

static struct lane *find(struct yard *yard, fdp_origin origin) {
  struct lane *lane = yard->lanes[origin % BUCKETS];
  while (lane && lane->origin != origin)
    lane = lane->next;
  return lane;
}

static struct lane *find_or_make(struct yard *yard, fdp_origin origin) {
  struct lane *lane = find(yard, origin);
  if (lane || !(lane = calloc(1, sizeof *lane)))
    return lane;
  lane->origin = origin;
  lane->next = yard->lanes[origin % BUCKETS];
  yard->lanes[origin % BUCKETS] = lane;
  return lane;
}

static void forget_if_empty(struct yard *yard, struct lane *lane) {
  struct lane **link = &yard->lanes[lane->origin % BUCKETS];
  if (lane->waiting > 0 || lane->at_work)
    return;
  while (*link != lane)
    link = &(*link)->next;
  *link = lane->next;
  free(lane);
}

static void add_number(struct yard *yard, struct lane *lane, struct number *number, int fd) {
  *number = (struct number){NULL, fd};
  if (lane->first_number)
    lane->last_number->next = number;
  else
    lane->first_number = number;
  lane->last_number = number;
  lane->numbers++;
  yard->numbers++;
}

static void count_waiting(struct yard *yard, struct lane *lane, int more) {
  lane->waiting += more;
  yard->waiting += more;
}

static int is_full(const struct lane *lane) {
  return lane && (lane->waiting >= MOST_WAITING || lane->numbers >= MOST_HANDED_OVER);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void *serve(void *yard);

/* Calls a thread. To be called under the lock. Returns whether the caller must start one after releasing it. */
static int call_a_thread(struct yard *yard) {
  if (yard->idle > 0) {
    pthread_cond_signal(&yard->work);
    return 0;
  }
  if (yard->threads >= MOST_THREADS)
    return 0;
  yard->threads++;
  yard->idle++;
  return 1;
}

/* To be called by a thread that has the yard's table. */
static void start_a_thread(struct yard *yard) {
  if (!fdp_detached(serve, yard))
    return;
  pthread_mutex_lock(&lock);
  yard->threads--;
  yard->idle--;
  pthread_mutex_unlock(&lock);
}

/* Whether there is a thread at all, busy or not. The first one is started under the lock. */
static int has_a_thread(struct yard *yard) {
  if (yard->threads > 0)
    return 1;
  if (fdp_detached(serve, yard))
    return 0;
  yard->threads = yard->idle = 1;
  return 1;
}

static void put_in_line(struct yard *yard, struct lane *lane) {
  lane->at_work = 1;
  lane->next_ready = NULL;
  if (yard->first_ready)
    yard->last_ready->next_ready = lane;
  else
    yard->first_ready = lane;
  yard->last_ready = lane;
}

/* Says that there is work in a lane. Returns whether a thread must be started for it. */
static int begin(struct yard *yard, struct lane *lane) {
  if (lane->at_work)
    return 0;
  put_in_line(yard, lane);
  return call_a_thread(yard);
}

/* Closes a lane's first number, or its first place, which is the last close of all that is in it. Releases the lock for
 * that time. */
static void work_on(struct yard *yard, struct lane *lane, int start) {
  struct number *number = lane->first_number;
  struct place *place = number ? NULL : lane->first_place;
  if (number)
    lane->first_number = number->next;
  else if (!(lane->first_place = place->next))
    lane->last_place = NULL;
  yard->places -= place != NULL;
  pthread_mutex_unlock(&lock);
  if (start)
    start_a_thread(yard);
  if (number)
    close(number->fd);
  else {
    if (place->out >= 0)
      close(place->out);
    close(place->in);
  }
  pthread_mutex_lock(&lock);
  count_waiting(yard, lane, number ? -1 : -place->count);
  lane->numbers -= number != NULL;
  yard->numbers -= number != NULL;
  free(number);
  free(place);
}

static int waits_for_work(struct yard *yard) {
  struct timespec until;
  int error = 0;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += IDLE * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000L;
  until.tv_nsec %= 1000000000L;
  while (!yard->first_ready && !error)
    error = pthread_cond_timedwait(&yard->work, &lock, &until);
  return yard->first_ready != NULL;
}

static void *serve(void *argument) {
  struct yard *yard = argument;
  pthread_mutex_lock(&lock);
  while (waits_for_work(yard)) {
    struct lane *lane = yard->first_ready;
    yard->first_ready = lane->next_ready;
    yard->idle--;
    /* However long this lane takes, there is a thread for the next one. */
    work_on(yard, lane, yard->first_ready || yard->idle == 0 ? call_a_thread(yard) : 0);
    yard->idle++;
    lane->at_work = 0;
    if (lane->first_number || lane->first_place)
      put_in_line(yard, lane);
    else
      forget_if_empty(yard, lane);
  }
  yard->idle--;
  yard->threads--;
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* ---- numbers of this table --------------------------------------------------------------------------------------- */

int fdp_hand_over(fdp_origin origin, int fd) {
  struct number *number = malloc(sizeof *number);
  struct lane *lane = NULL;
  int start = 0;
  if (!number)
    return -1;
  pthread_mutex_lock(&lock);
  if (has_a_thread(&here) && (lane = find_or_make(&here, origin))) {
    add_number(&here, lane, number, fd);
    count_waiting(&here, lane, 1);
    start = begin(&here, lane);
  }
  pthread_mutex_unlock(&lock);
  if (start)
    start_a_thread(&here);
  if (lane)
    return 0;
  free(number);
  return -1;
}

#if FDP_LANDING

/* ---- the keeper's table ------------------------------------------------------------------------------------------ */

enum {
  AT_ONCE = 32,    /* the most descriptors in one message to the keeper */
  FEW_PLACES = 64, /* the limit without a large table of its own; each takes two numbers until a thread comes to it */
  PATIENCE = 2,    /* milliseconds to wait for the keeper, who never waits for others */
};

/* The lane of those origins for which there is no place left. No peer has this origin. */
static const fdp_origin SHARED = 0;

/* What the keeper is sent with the descriptors. */
struct parcel {
  fdp_origin origin;
  int32_t process;
  uint64_t turn;
};

static pthread_mutex_t tunnel_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_turn;                /* protected by tunnel_lock */
static _Atomic uint64_t last_closed_turn; /* the numbers of the parcels up to this one are closed here */

static struct yard apart = {.work = PTHREAD_COND_INITIALIZER};
static int tunnel[2] = {-1, -1}; /* this end, and the keeper's */
static int has_keeper;           /* protected by tunnel_lock */
static int has_own_table;        /* whether the keeper has one; used by the keeper alone */
static atomic_int in_flight_is_bounded;

static ssize_t send_into(int out, const void *bytes, size_t size, const int32_t *fd, int count) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(AT_ONCE * sizeof(int))];
  } control = {0};
  struct iovec part = {(void *)(uintptr_t)bytes, size};
  size_t length = (size_t)count * sizeof(int);
  struct msghdr header = {0};
  ssize_t sent;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = &control;
  header.msg_controllen = (socklen_t)CMSG_LEN(length);
  control.align.cmsg_level = SOL_SOCKET;
  control.align.cmsg_type = SCM_RIGHTS;
  control.align.cmsg_len = (socklen_t)CMSG_LEN(length);
  memcpy(CMSG_DATA(&control.align), fd, length);
  do
    sent = sendmsg(out, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

/* Returns how many descriptors came, or a negative number if nothing more will come. */
static int take_in(int in, struct parcel *parcel, int32_t *fd) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(AT_ONCE * sizeof(int))];
  } control;
  struct iovec part = {parcel, sizeof *parcel};
  struct msghdr header = {0};
  ssize_t length;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = &control;
  header.msg_controllen = sizeof control;
  do
    length = recvmsg(in, &header, MSG_CMSG_CLOEXEC);
  while (length < 0 && errno == EINTR);
  const struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
  if (length != sizeof *parcel)
    return -1;
  if (!rights)
    return 0;
  size_t size = rights->cmsg_len - CMSG_LEN(0);
  memcpy(fd, CMSG_DATA(rights), size);
  return (int)(size / sizeof(int));
}

/* How many descriptors the keeper is sent in one message: fewer where its table is small. The limit of its table is the
 * limit of this one. */
static int at_once(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= 4 * AT_ONCE)
    return AT_ONCE;
  return limit.rlim_cur < 4 ? 1 : (int)limit.rlim_cur / 4;
}

/* Whether the keeper's table has room for so many more numbers and for the next message. */
static int has_room(int more) {
  struct rlimit limit;
  int taken = apart.numbers + 2 * apart.places + 2 * at_once();
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)(taken + more) < limit.rlim_cur;
}

/* The most places: those that take a quarter of a table of the keeper's own, which are two numbers each. */
static int most_places(void) {
  struct rlimit limit;
  if (!has_own_table || getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < 8 * FEW_PLACES)
    return FEW_PLACES;
  return limit.rlim_cur > INT32_MAX ? INT32_MAX / 8 : (int)limit.rlim_cur / 8;
}

static struct place *new_place(struct lane *lane) {
  struct place *place;
  int ends[2];
  if (apart.places >= most_places() + (lane->origin == SHARED) || !has_room(2) || !(place = malloc(sizeof *place)))
    return NULL;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
    free(place);
    return NULL;
  }
  *place = (struct place){NULL, ends[0], ends[1], 0};
  if (lane->last_place)
    lane->last_place->next = place;
  else
    lane->first_place = place;
  lane->last_place = place;
  apart.places++;
  return place;
}

/* Puts descriptors into the lane's last place, or into a new one. Returns whether that was possible. */
static int pack_into(struct lane *lane, const int32_t *fd, int count) {
  struct place *place = lane->last_place;
  ssize_t sent = -EAGAIN;
  if (place && place->out >= 0)
    sent = send_into(place->out, "", 1, fd, count);
  if (sent == -EAGAIN) {
    if (place && place->out >= 0) {
      close(place->out); /* it is full */
      place->out = -1;
    }
    if (!(place = new_place(lane)))
      return 0;
    sent = send_into(place->out, "", 1, fd, count);
  }
  if (sent == -ETOOMANYREFS)
    in_flight_is_bounded = 1;
  if (sent < 0)
    return 0;
  place->count += count;
  return 1;
}

/*
 * Leaves what the keeper has received to the threads of its table. Returns whether one must be started. If the lane
 * gets no place, the descriptors keep their numbers as long as a table of the keeper's own has room. Only after that do
 * they share a lane, because there they may wait for what another peer has made slow.
 */
static int pack(fdp_origin origin, const int32_t *fd, int count) {
  struct lane *lane = find_or_make(&apart, origin), *shared;
  int packed = lane && pack_into(lane, fd, count);
  int numbered = lane && has_own_table && has_room(count);
  if (!packed && !numbered && apart.places >= most_places() && (shared = find_or_make(&apart, SHARED)) &&
      (packed = pack_into(shared, fd, count))) {
    if (lane)
      forget_if_empty(&apart, lane);
    lane = shared;
  }
  if (packed)
    fdp_close_rows(fd, count);
  for (int i = 0; !packed && i < count; i++) {
    struct number *number = lane ? malloc(sizeof *number) : NULL;
    if (number) {
      add_number(&apart, lane, number, fd[i]);
      count_waiting(&apart, lane, 1);
    } else
      close(fd[i]);
  }
  if (packed)
    count_waiting(&apart, lane, count);
  if (lane && lane->waiting == 0)
    forget_if_empty(&apart, lane);
  else if (lane)
    return begin(&apart, lane);
  return 0;
}

/* Gives this thread a table of its own, in which only one number is open. Where a sandbox forbids that, what lands
 * takes numbers of this process for a moment. */
static void leave_table(int but) {
#ifdef SYS_close_range
  enum { UNSHARE = 2 };
  if (syscall(SYS_close_range, (unsigned)but + 1, ~0U, UNSHARE) == 0) {
    if (but > 0)
      syscall(SYS_close_range, 0U, (unsigned)but - 1, 0);
    has_own_table = 1;
    return;
  }
#endif
  long count = sysconf(_SC_OPEN_MAX);
  if (unshare(CLONE_FILES) == 0)
    has_own_table = 1;
  if (has_own_table)
    for (int fd = 0; fd < (count > 1 << 16 ? 1 << 16 : count); fd++)
      if (fd != but && fcntl(fd, F_GETFD) >= 0)
        close(fd);
}

/* Waits until the numbers have been closed in the table they came from. Otherwise the close there could be the last
 * one. */
static void wait_for_close(const struct parcel *parcel) {
  const struct timespec pause = {0, 20000};
  while (parcel->process == getpid() && atomic_load(&last_closed_turn) < parcel->turn)
    nanosleep(&pause, NULL);
}

static void *keep(void *nothing) {
  struct parcel parcel;
  int32_t fd[AT_ONCE];
  int count, start;
  (void)nothing;
  leave_table(tunnel[1]);
  while ((count = take_in(tunnel[1], &parcel, fd)) >= 0) {
    wait_for_close(&parcel);
    pthread_mutex_lock(&lock);
    start = count > 0 && pack(parcel.origin, fd, count);
    pthread_mutex_unlock(&lock);
    if (start)
      start_a_thread(&apart);
  }
  return NULL;
}

void fdp_prepare_landing(void) {
  pthread_mutex_lock(&tunnel_lock);
  if (tunnel[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, tunnel))
    tunnel[0] = -1;
  pthread_mutex_unlock(&tunnel_lock);
}

/*
 * Whether so many descriptors may land. Linux counts all descriptors that a user has in flight. So where that is
 * limited, most of it is left to those who pass descriptors. Only a refusal tells that this user is subject to the
 * limit.
 */
static int may_land(int count) {
  struct rlimit limit;
  return has_room(0) && (!in_flight_is_bounded || getrlimit(RLIMIT_NOFILE, &limit) ||
                         (rlim_t)(apart.waiting + count) <= limit.rlim_cur / 4);
}

static int send_to_keeper(const struct parcel *parcel, const int32_t *fd, int count) {
  ssize_t sent = send_into(tunnel[0], parcel, sizeof *parcel, fd, count);
  if (sent == -EAGAIN) {
    struct pollfd state = {.fd = tunnel[0], .events = POLLOUT};
    poll(&state, 1, PATIENCE);
    sent = send_into(tunnel[0], parcel, sizeof *parcel, fd, count);
  }
  if (sent == -ETOOMANYREFS)
    in_flight_is_bounded = 1;
  return sent > 0;
}

/* Never waits long for the lock, because the threads that close use another one. */
int fdp_land(fdp_origin origin, const int32_t *fd, int count) {
  int done = 0, most = at_once();
  pthread_mutex_lock(&tunnel_lock);
  if (!has_keeper)
    has_keeper = tunnel[0] >= 0 && !fdp_detached(keep, NULL);
  while (has_keeper && done < count) {
    const struct parcel parcel = {origin, getpid(), last_turn + 1};
    int part = count - done < most ? count - done : most;
    if (!may_land(part) || !send_to_keeper(&parcel, fd + done, part))
      break;
    last_turn++;
    fdp_close_rows(fd + done, part);
    atomic_store(&last_closed_turn, last_turn);
    done += part;
  }
  pthread_mutex_unlock(&tunnel_lock);
  return done;
}

#endif

/* If the lock is taken, the answer is no: the next call will find out. */
int fdp_is_crowded(fdp_origin origin) {
  if (pthread_mutex_trylock(&lock))
    return 0;
  int crowded = is_full(find(&here, origin));
#if FDP_LANDING
  crowded |= is_full(find(&apart, origin)) || is_full(find(&apart, SHARED));
#endif
  pthread_mutex_unlock(&lock);
  return crowded;
}
