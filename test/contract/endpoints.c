/* Pairs, listeners, connections, and who is at the other end. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef FDP_SYSV
#include <stropts.h>
#endif

/* A new folder, and the name of a socket in it with its NUL. */
static char folder[64], path[80];
static size_t make_folder(void) {
  strcpy(folder, "/tmp/contract-XXXXXX");
  CHECK(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/socket", folder);
  return strlen(path) + 1;
}

/* Where streams are attached, the path outlives them, and its owner must remove it. */
static void stop_listening(int listener) {
#ifdef FDP_SYSV
  EQUAL(fdetach(path), 0);
#endif
  EQUAL(fdp_close(listener), 0);
}

static void remove_folder(void) {
  EQUAL(unlink(path), 0);
  EQUAL(rmdir(folder), 0);
}

static void pairs(void) {
  for (int type = FDP_STREAM; type <= FDP_DGRAM; type++) {
    int pair[2];
    int result = fdp_pair((enum fdp_type)type, pair);
    if (type != FDP_SEQPACKET && !BYTES) {
      EQUAL(result, -EPROTONOSUPPORT);
      continue;
    }
    EQUAL(result, 0);
    for (int i = 0; i < 2; i++) {
      EQUAL(fdp_socket_type(pair[i]), type);
      EQUAL(fcntl(pair[i], F_GETFD), FD_CLOEXEC);
      EQUAL(fcntl(pair[i], F_GETFL) & O_NONBLOCK, 0);
    }
    close_all(pair, 2);
  }
}

static int filler[MOST_OPEN];

static void no_room(void) {
  int pair[2];
  size_t length = make_folder();
  limit_table(64);
  int count = fill_table(filler);
  EQUAL(fdp_pair(ANY_TYPE, pair), -EMFILE);
  EQUAL(fdp_listen(ANY_TYPE, path, length, 0600, 1), -EMFILE);
  EQUAL(fdp_close(filler[--count]), 0);
  EQUAL(fdp_pair(ANY_TYPE, pair), -EMFILE); /* one slot is not enough, and is free again */
  filler[count++] = open("/dev/null", O_RDONLY);
  CHECK(filler[count - 1] >= 0);
  close_all(filler, count);
  EQUAL(access(path, F_OK), -1);
  EQUAL(rmdir(folder), 0);
}

static void connect_and_pass(void) {
  struct stat status;
  size_t length = make_folder();
  mode_t mask = umask(0);
  int listener = fdp_listen(ANY_TYPE, path, length, 0640, 8);
  umask(mask);
  CHECK(listener >= 0);
  EQUAL(fcntl(listener, F_GETFD), FD_CLOEXEC);
  CHECK(fcntl(listener, F_GETFL) & O_NONBLOCK);
  EQUAL(stat(path, &status), 0);
  EQUAL(status.st_mode & 0777, 0640);
  EQUAL(fdp_accept(listener), -EAGAIN);
  EQUAL(fdp_listen(ANY_TYPE, path, length, 0600, 8), -EADDRINUSE);
  if (BYTES)
    EQUAL(fdp_socket_type(listener), -EINVAL);

  int client = fdp_connect(ANY_TYPE, path, length);
  CHECK(client >= 0);
  int server = fdp_accept(listener);
  CHECK(server >= 0);
  EQUAL(fdp_accept(listener), -EAGAIN);
  const int ends[] = {client, server};
  for (int i = 0; i < 2; i++) {
    EQUAL(fcntl(ends[i], F_GETFD), FD_CLOEXEC);
    CHECK(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
    CHECK(fdp_attach(ends[i]) >= 0);
  }
  int file = new_file();
  for (int i = 0; i < 2; i++) {
    EQUAL(send_message(ends[i], 1, &file, 1), 1);
    EQUAL(receive(ends[1 - i], 1, 1, 1), 1);
    CHECK(is_same(in.fd[0], file));
    EQUAL(fdp_close(in.fd[0]), 0);
  }
  EQUAL(fdp_close(client), 0);
  EQUAL(receive(server, 1, 1, 1), 0);
  EQUAL(fdp_close(server), 0);
  EQUAL(fdp_close(file), 0);
  stop_listening(listener);
  EQUAL(fdp_connect(ANY_TYPE, path, length), -ECONNREFUSED);
  remove_folder();
  EQUAL(fdp_connect(ANY_TYPE, path, length), -ENOENT);
}

static void waits_in_the_backlog(void) {
  size_t length = make_folder();
  int listener = fdp_listen(ANY_TYPE, path, length, 0600, 8);
  int client = fdp_connect(ANY_TYPE, path, length);
  CHECK(client >= 0);
  limit_table(64);
  int count = fill_table(filler);
  EQUAL(fdp_accept(listener), -EMFILE);
  EQUAL(fdp_accept(listener), -EMFILE);
  EQUAL(fdp_close(filler[--count]), 0);
  int server = fdp_accept(listener);
  CHECK(server >= 0);
  EQUAL(fdp_close(server), 0);
  EQUAL(fdp_close(client), 0);
  close_all(filler, count);
  stop_listening(listener);
  remove_folder();
}

#ifdef FDP_SYSV

static void no_word_of_the_peer(void) {
  struct fdp_peer peer;
  int pair[2];
  EQUAL(fdp_pair(FDP_SEQPACKET, pair), 0);
  EQUAL(fdp_peer(pair[0], &peer), -EOPNOTSUPP);
  close_all(pair, 2);
}

#else

static void names(void) {
  char name[300];
  memset(name, 'x', sizeof name);
  name[0] = '/';
  name[sizeof name - 1] = 0;
  EQUAL(fdp_listen(FDP_STREAM, name, sizeof name, 0600, 1), -ENAMETOOLONG);
  EQUAL(fdp_connect(FDP_STREAM, name, sizeof name), -ENAMETOOLONG);
  EQUAL(fdp_connect(FDP_STREAM, "/nowhere/at/all", 16), -ENOENT);

  int length = snprintf(name, sizeof name, "%ccontract-%d", 0, (int)getpid());
  int listener = fdp_listen(FDP_STREAM, name, (size_t)length, 0600, 1);
  CHECK(listener >= 0);
  int client = fdp_connect(FDP_STREAM, name, (size_t)length);
  CHECK(client >= 0);
  EQUAL(fdp_connect(FDP_STREAM, name, (size_t)length - 1), -ECONNREFUSED); /* an abstract name is all its bytes */
  char told[sizeof((struct sockaddr_un *)0)->sun_path];
  EQUAL(fdp_name(listener, told, sizeof told), length);
  EQUAL(memcmp(told, name, (size_t)length), 0);
  EQUAL(fdp_name(listener, told, (size_t)length - 1), -ENAMETOOLONG);
  EQUAL(fdp_name(client, told, sizeof told), 0);
  EQUAL(fdp_name(1000, told, sizeof told), -EBADF);
  EQUAL(fdp_close(client), 0);
  int accepted = fdp_accept(listener); /* with a connection in its backlog, a listener is closed on a thread */
  CHECK(accepted >= 0);
  EQUAL(fdp_close(accepted), 0);
  EQUAL(fdp_close(listener), 0);
  EQUAL(fdp_connect(FDP_STREAM, name, (size_t)length), -ECONNREFUSED);
}

static void locks(void) {
  make_folder();
  int one = fdp_lock(path);
  CHECK(one >= 0);
  EQUAL(fcntl(one, F_GETFD), FD_CLOEXEC);
  EQUAL(fdp_lock(path), -EAGAIN);
  EQUAL(fdp_close(one), 0);
  int other = fdp_lock(path); /* the file alone is no lock */
  CHECK(other >= 0);
  EQUAL(fdp_close(other), 0);
  remove_folder();
  EQUAL(fdp_lock(path), -ENOENT);
}

static void lock_that_waits(void) {
  make_folder();
  EQUAL(mkfifo(path, 0600), 0);
  alarm(5);
  int fd = fdp_lock(path); /* a fifo is opened when it has a writer */
  CHECK(fd >= 0 || fd == -EAGAIN || fd == -EINVAL || fd == -EOPNOTSUPP);
  alarm(0);
  if (fd >= 0)
    EQUAL(fdp_close(fd), 0);
  unlink(path);
  EQUAL(rmdir(folder), 0);
}

static void blocking_listener(void) {
  size_t length = make_folder();
  int listener = fdp_listen(FDP_STREAM, path, length, 0600, 8);
  int client = fdp_connect(FDP_STREAM, path, length);
  CHECK(client >= 0);
  EQUAL(fdp_nonblocking(listener, 0), 0); /* as whoever shares it may at any time */
  int server = fdp_accept(listener);
  CHECK(server >= 0);
  EQUAL(fdp_nonblocking(listener, 0), 0);
  alarm(5);
  EQUAL(fdp_accept(listener), -EAGAIN);
  alarm(0);
  EQUAL(fdp_close(server), 0);
  EQUAL(fdp_close(client), 0);
  stop_listening(listener);
  remove_folder();
}

static void modes(void) {
#ifdef __linux__
  struct stat status;
  size_t length = make_folder();
  EQUAL(fdp_set_mode(path, 0200, 0600), -ENOENT);
  int listener = fdp_listen(FDP_STREAM, path, length, 0200, 1);
  EQUAL(fdp_set_mode(path, 0200, 0666), 0);
  EQUAL(stat(path, &status), 0);
  EQUAL(status.st_mode & 0777, 0666);
  EQUAL(fdp_set_mode(path, 0200, 0600), -ESTALE); /* has more than the socket that is meant */
  EQUAL(fdp_set_mode(folder, 0777, 0700), -ESTALE);
  stop_listening(listener);
  remove_folder();
#endif
}

static void full_backlog(void) {
  size_t length = make_folder();
  int listener = fdp_listen(FDP_STREAM, path, length, 0600, 1), clients[8], count = 0;
  while (count < 8 && (clients[count] = fdp_connect(FDP_STREAM, path, length)) >= 0)
    count++;
  CHECK(count < 8);
  EQUAL(clients[count], -EAGAIN);
  int server = fdp_accept(listener);
  CHECK(server >= 0);
  clients[count] = fdp_connect(FDP_STREAM, path, length);
  CHECK(clients[count] >= 0);
  close_all(clients, count + 1);
  EQUAL(fdp_close(server), 0);
  stop_listening(listener);
  remove_folder();
}

static void other_type(void) {
  size_t length = make_folder();
  int listener = fdp_listen(FDP_SEQPACKET, path, length, 0600, 1);
  CHECK(listener >= 0);
  char name[sizeof path];
  EQUAL(fdp_name(listener, name, sizeof name), (int)length - 1);
  EQUAL(memcmp(name, path, length - 1), 0);
  EQUAL(fdp_connect(FDP_STREAM, path, length), -EPROTOTYPE);
  stop_listening(listener);
  remove_folder();
}

static void connect_from(int argument) {
  (void)argument;
  int client = fdp_connect(FDP_STREAM, path, strlen(path) + 1);
  CHECK(client >= 0);
  char byte;
  fdp_nonblocking(client, 0);
  EQUAL(read(client, &byte, 1), 0);
  EQUAL(fdp_close(client), 0);
}

static void credentials(void) {
  struct fdp_peer peer;
  size_t length = make_folder();
  int listener = fdp_listen(FDP_STREAM, path, length, 0600, 1), server;
  pid_t child = fork_child(connect_from, 0);
  UNTIL((server = fdp_accept(listener)) != -EAGAIN);
  CHECK(server >= 0);
  EQUAL(fdp_peer(server, &peer), 0);
  EQUAL(peer.pid, child);
  EQUAL(peer.uid, geteuid());
  EQUAL(peer.gid, getegid());
  EQUAL(fdp_close(server), 0);
  join_child(child);
  stop_listening(listener);
  remove_folder();
  int alone = socket(AF_UNIX, SOCK_STREAM, 0);
  EQUAL(fdp_peer(alone, &peer), -ENOTCONN);
  EQUAL(fdp_close(alone), 0);
}

static void other_families(void) {
  int inet = socket(AF_INET, SOCK_STREAM, 0);
  EQUAL(fdp_socket_type(inet), -EAFNOSUPPORT);
  EQUAL(fdp_attach(inet), -EAFNOSUPPORT);
  EQUAL(fdp_close(inet), 0);
}

static void datagrams_at_a_path(void) {
  size_t length = make_folder();
  int receiver = fdp_listen(FDP_DGRAM, path, length, 0600, 0);
  CHECK(receiver >= 0);
  CHECK(fdp_attach(receiver) >= 0);
  int sender = fdp_connect(FDP_DGRAM, path, length), file = new_file();
  CHECK(sender >= 0);
  EQUAL(send_message(sender, 3, &file, 1), 1);
  EQUAL(receive(receiver, 1, 1, 1), 1);
  EQUAL(in.size[0], 3);
  CHECK(is_same(in.fd[0], file));
  EQUAL(fdp_close(in.fd[0]), 0);
  EQUAL(fdp_close(file), 0);
  EQUAL(fdp_close(sender), 0);
  stop_listening(receiver);
  remove_folder();
}

/* The process has one umask, which must be as before whatever happens meanwhile. */
static void *listen_often(void *argument) {
  int index = (int)(intptr_t)argument;
  char name[100];
  snprintf(name, sizeof name, "%s/socket%d", folder, index);
  for (int i = 0; i < 200; i++) {
    int listener = fdp_listen(FDP_STREAM, name, strlen(name) + 1, index % 2 ? 0600 : 0644, 1);
    CHECK(listener >= 0);
    EQUAL(fdp_close(listener), 0);
    EQUAL(unlink(name), 0);
  }
  return NULL;
}

static void umask_stays(void) {
  enum { LISTENERS = 4 };
  pthread_t thread[LISTENERS];
  make_folder();
  mode_t before = umask(027);
  for (int i = 0; i < LISTENERS; i++)
    EQUAL(pthread_create(&thread[i], NULL, listen_often, (void *)(intptr_t)i), 0);
  for (int i = 0; i < LISTENERS; i++)
    EQUAL(pthread_join(thread[i], NULL), 0);
  EQUAL(umask(before), 027);
  EQUAL(rmdir(folder), 0);
}

#endif

const struct test endpoint_tests[] = {
    {"both ends of a pair are close-on-exec, blocking, and of the type asked for", pairs},
    {"without room no endpoint comes about, and no path", no_room},
    {"what connects at a path passes descriptors both ways, and the path has its mode", connect_and_pass},
    {"a connection waits while the table is full", waits_in_the_backlog},
#ifdef FDP_SYSV
    {"a stream does not say who is at its other end", no_word_of_the_peer},
#else
    {"names that are too long, missing or abstract", names},
    {"one process at a time holds a lock", locks},
    {"a fifo in the place of a lock keeps nobody waiting", lock_that_waits},
    {"a listener that somebody has made blocking keeps nobody waiting", blocking_listener},
    {"a path gets its mode only if what is there was bound with so little", modes},
    {"a full backlog is EAGAIN, and later has room", full_backlog},
    {"a listener of another type is EPROTOTYPE", other_type},
    {"the kernel says which process and user has connected", credentials},
    {"sockets of other families are refused", other_families},
    {"a datagram socket at a path receives", datagrams_at_a_path},
    {"threads that listen at the same time leave the umask as it was", umask_stays},
#endif
    {0}};
