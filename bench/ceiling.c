/*
 * The speed of a C program that only makes system calls. All other rows are compared with its rows.
 *
 *   ceiling send|receive BATCH BYTES    messages of so many descriptors and bytes, by plain sendmsg and recvmsg
 *   ceiling care BATCH BYTES            receives so that nothing can be lost, and no close can hold it up
 *   ceiling care-thread BATCH BYTES     the same in a process with threads
 *   ceiling ping|pong                   one descriptor there and back
 *   ceiling grow                        receives as `receive 1 1` in a process with threads, and keeps all open
 *
 * A side of a pair, as bench/pair.js describes them: descriptor 3 is the socket, each line of standard input a number
 * of descriptors to pass, each answer a line of JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SOCKET = 3, MAX_FDS = 253, ROOM = 65536 };

static int epoll;
static int passed; /* the descriptor that is sent again and again */
static long batch = 1, bytes = 1;
static char room[ROOM];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Nanoseconds of this process, user and system. */
static int64_t cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
         ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static long peak(void) {
  char line[256];
  long kilobytes = 0;
  FILE *status = fopen("/proc/self/status", "r");
  if (status == NULL)
    fail("/proc/self/status");
  while (fgets(line, sizeof line, status))
    if (strncmp(line, "VmHWM:", 6) == 0)
      kilobytes = strtol(line + 6, NULL, 10);
  fclose(status);
  return kilobytes * 1024;
}

static void watch(uint32_t events) {
  struct epoll_event event = {.events = events};
  if (epoll_ctl(epoll, EPOLL_CTL_MOD, SOCKET, &event) < 0)
    fail("epoll_ctl");
}

static void wait_for_event(void) {
  struct epoll_event event;
  while (epoll_wait(epoll, &event, 1, -1) < 0)
    if (errno != EINTR)
      fail("epoll_wait");
}

/* ---- one message ------------------------------------------------------------------------------------------------ */

union control {
  char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
  struct cmsghdr align;
};

/* Sends `size` bytes with `count` descriptors, all of them; waits when the buffer is full. */
static void put(const int *fds, size_t count, size_t size) {
  union control control;
  struct iovec part = {.iov_base = room, .iov_len = size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  message.msg_control = control.space;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int) * count), .cmsg_level = SOL_SOCKET};
  header->cmsg_type = SCM_RIGHTS;
  memcpy(CMSG_DATA(header), fds, sizeof(int) * count);

  while (part.iov_len > 0) {
    ssize_t sent = sendmsg(SOCKET, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
      wait_for_event();
      continue;
    }
    if (sent < 0)
      fail("sendmsg");
    part.iov_len -= (size_t)sent;
    message.msg_control = NULL; /* the descriptors went with the first byte */
    message.msg_controllen = 0;
  }
}

/* Receives one message; waits for it when there is none. Returns its descriptors, and its bytes in *size. */
static size_t get(int *fds, size_t *size) {
  union control control;
  struct iovec part = {.iov_base = room, .iov_len = sizeof room};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  for (;;) {
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    ssize_t received = recvmsg(SOCKET, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (received > 0) {
      *size = (size_t)received;
      break;
    }
    if (received == 0)
      exit(0);
    if (errno != EAGAIN)
      fail("recvmsg");
    wait_for_event();
  }
  if (message.msg_flags & MSG_CTRUNC) {
    fputs("descriptors were lost\n", stderr);
    exit(1);
  }
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL)
    return 0;
  size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(fds, CMSG_DATA(header), count * sizeof(int));
  return count;
}

/* ---- one run ---------------------------------------------------------------------------------------------------- */

static void send_all(long total) {
  int fds[MAX_FDS];
  for (int i = 0; i < MAX_FDS; i++)
    fds[i] = passed;
  watch(EPOLLOUT);
  for (long left = total; left > 0;) {
    long count = left < batch ? left : batch;
    put(fds, (size_t)count, (size_t)bytes);
    left -= count;
  }
}

static void receive_all(long total) {
  int fds[MAX_FDS];
  size_t size, got = 0, messages = (size_t)((total + batch - 1) / batch);
  for (size_t left = (size_t)total; left > 0 || got < messages * (size_t)bytes; got += size) {
    size_t count = get(fds, &size);
    for (size_t i = 0; i < count; i++)
      close(fds[i]);
    left -= count;
  }
}

/* Peeks at several messages, then takes them without their descriptors. Before each close it asks what the core asks
 * (native/nature.c): of what type the file is, and on which mount. */
static void receive_with_care(long total) {
  enum { MESSAGES = 64, AT_ONCE = 1024, UNIQUE_MOUNT = 0x4000 /* STATX_MNT_ID_UNIQUE */ };
  static union control control[MESSAGES];
  static char bodies[MESSAGES][4096];
  int zero = 0;
  if ((size_t)bytes > sizeof bodies[0])
    fail("bytes");
  if (setsockopt(SOCKET, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof zero) < 0)
    fail("SO_PEEK_OFF");
  unsigned most = batch < AT_ONCE / MESSAGES ? MESSAGES : (unsigned)(AT_ONCE / batch);
  for (long left = total; left > 0;) {
    struct mmsghdr message[MESSAGES] = {0};
    struct iovec part[MESSAGES];
    for (unsigned i = 0; i < most; i++) {
      part[i] = (struct iovec){.iov_base = bodies[i], .iov_len = (size_t)bytes};
      message[i].msg_hdr = (struct msghdr){.msg_iov = &part[i], .msg_iovlen = 1};
      message[i].msg_hdr.msg_control = control[i].space;
      message[i].msg_hdr.msg_controllen = sizeof control[i].space;
    }
    int seen = recvmmsg(SOCKET, message, most, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
    if (seen < 0 && errno == EAGAIN) {
      wait_for_event();
      continue;
    }
    if (seen <= 0 || message[0].msg_len == 0)
      exit(0);
    struct mmsghdr taken[MESSAGES] = {0};
    for (int i = 0; i < seen; i++)
      taken[i].msg_hdr = (struct msghdr){.msg_iov = &part[i], .msg_iovlen = 1};
    if (recvmmsg(SOCKET, taken, (unsigned)seen, MSG_DONTWAIT, NULL) != seen)
      fail("recvmmsg");
    for (int i = 0; i < seen; i++) {
      struct cmsghdr *header = CMSG_FIRSTHDR(&message[i].msg_hdr);
      if (message[i].msg_len != (unsigned)bytes || header == NULL)
        fail("not what was sent");
      size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t k = 0; k < count; k++) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + k * sizeof fd, sizeof fd);
        struct statx found;
        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | UNIQUE_MOUNT, &found) < 0)
          fail("statx");
        if (!S_ISCHR(found.stx_mode))
          fail("not what was sent");
        close(fd);
      }
      left -= (long)count;
    }
  }
}

static void ping(long total, int64_t *trips) {
  int back[MAX_FDS];
  size_t size;
  for (long i = 0; i < total; i++) {
    int64_t start = now();
    put(&passed, 1, 1);
    wait_for_event(); /* nothing can have come yet, so a receive would be in vain */
    if (get(back, &size) != 1)
      fail("ping");
    trips[i] = now() - start;
    close(back[0]);
  }
}

static void pong(long total) {
  int fds[MAX_FDS];
  size_t size;
  for (long i = 0; i < total; i++) {
    wait_for_event();
    if (get(fds, &size) != 1)
      fail("pong");
    put(fds, 1, 1);
    close(fds[0]);
  }
}

/* Returns the longest that one message took, in nanoseconds. */
static int64_t keep_all(long total) {
  int fds[MAX_FDS];
  size_t size;
  int64_t worst = 0;
  for (long i = 0; i < total; i++) {
    int64_t start = now();
    if (get(fds, &size) != 1)
      fail("grow");
    int64_t took = now() - start;
    if (i > 0 && took > worst)
      worst = took; /* the first message is left out: it waits for its sender */
  }
  return worst;
}

static void *sleep_on(void *nothing) {
  pause();
  return nothing;
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  const char *mode = argv[1];
  if (argc > 2)
    batch = strtol(argv[2], NULL, 10);
  if (argc > 3)
    bytes = strtol(argv[3], NULL, 10);
  int sends = strcmp(mode, "send") == 0, pings = strcmp(mode, "ping") == 0, grows = strcmp(mode, "grow") == 0;
  int cares_with_thread = strcmp(mode, "care-thread") == 0, cares = cares_with_thread || strcmp(mode, "care") == 0;

  passed = open("/dev/null", O_RDONLY | O_CLOEXEC);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  if (passed < 0 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, SOCKET, &event) < 0)
    fail("epoll");
  pthread_t thread;
  if ((grows || cares_with_thread) && pthread_create(&thread, NULL, sleep_on, NULL) != 0)
    fail("pthread_create");

  char line[64];
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin)) {
    long total = strtol(line, NULL, 10);
    int64_t worst = 0, *trips = pings ? malloc((size_t)total * sizeof *trips) : NULL;
    if (pings && trips == NULL)
      fail("malloc");

    int64_t used = cpu(), begin = now();
    if (!sends && !pings)
      puts("ready");
    if (sends)
      send_all(total);
    else if (pings)
      ping(total, trips);
    else if (grows)
      worst = keep_all(total);
    else if (strcmp(mode, "pong") == 0)
      pong(total);
    else if (cares)
      receive_with_care(total);
    else
      receive_all(total);
    int64_t end = now();
    used = cpu() - used;

    printf("{\"begin\":%lld,\"end\":%lld,\"cpu\":%lld,\"peak\":%ld", (long long)begin, (long long)end, (long long)used,
           peak());
    if (grows)
      printf(",\"more\":{\"worst\":%lld}", (long long)worst);
    for (long i = 0; pings && i < total; i++)
      printf("%s%lld", i == 0 ? ",\"more\":{\"trips\":[" : ",", (long long)trips[i]);
    puts(pings ? "]}}" : "}");
    free(trips);
  }
  return 0;
}
