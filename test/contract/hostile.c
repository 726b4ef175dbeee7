/* What a peer can send beside its bytes, by its own system calls. */
#include "contract.h"

#ifndef FDP_SYSV

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef FDP_BSD44

union control {
  struct cmsghdr align;
  char bytes[4096];
};

static void add(struct msghdr *header, int type, const void *data, size_t length) {
  struct cmsghdr *message = (struct cmsghdr *)(void *)((char *)header->msg_control + header->msg_controllen);
  message->cmsg_level = SOL_SOCKET;
  message->cmsg_type = type;
  message->cmsg_len = (socklen_t)CMSG_LEN(length);
  memcpy(CMSG_DATA(message), data, length);
  header->msg_controllen += (socklen_t)CMSG_SPACE(length);
}

static ssize_t raw_send(int socket, int parts, const int *fd, int of_each, const struct ucred *credentials) {
  static union control control;
  char byte = 'x';
  struct iovec part = {&byte, 1};
  struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
  memset(&control, 0, sizeof control);
  if (credentials)
    add(&header, SCM_CREDENTIALS, credentials, sizeof *credentials);
  for (int i = 0; i < parts; i++)
    add(&header, SCM_RIGHTS, fd + i * of_each, (size_t)of_each * sizeof *fd);
  return sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void several_control_messages(void) {
  int pair[2], files[6];
  struct ucred self = {getpid(), getuid(), getgid()};
  make_pair(FDP_STREAM, pair);
  for (int i = 0; i < 6; i++)
    files[i] = new_file();
  EQUAL(raw_send(pair[0], 3, files, 2, &self), 1);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(in.count[0], 6);
  for (int i = 0; i < 6; i++)
    CHECK(is_same(in.fd[i], files[i]));
  close_all(in.fd, 6);
  close_all(files, 6);
  close_all(pair, 2);
}

static void empty_rights(void) {
  int pair[2], file = new_file();
  make_pair(FDP_STREAM, pair);
  EQUAL(raw_send(pair[0], 1, &file, 0, NULL), 1);
  EQUAL(raw_send(pair[0], 1, &file, 1, NULL), 1);
  int descriptors = 0, result;
  while ((result = receive(pair[1], 8, 8, 1)) > 0)
    for (int i = 0; i < result; i++)
      for (int k = 0; k < in.count[i]; k++, descriptors++) {
        CHECK(is_same(in.fd[k], file));
        EQUAL(fdp_close(in.fd[k]), 0);
      }
  EQUAL(descriptors, 1);
  EQUAL(fdp_close(file), 0);
  close_all(pair, 2);
}

/* A process that shares the socket may turn on control messages, and descriptors, of the kernel's own. */
static void unasked_control(void) {
  enum { PASS_PIDFD = 76 };
  const int options[] = {SO_PASSCRED, SO_PASSSEC, PASS_PIDFD};
  const enum fdp_type types[] = {FDP_STREAM, FDP_SEQPACKET};
  for (int t = 0; t < 2; t++) {
    int pair[2], file = new_file(), on = 1;
    make_pair(types[t], pair);
    for (int i = 0; i < 3; i++) /* not every kernel has all of them */
      setsockopt(pair[1], SOL_SOCKET, options[i], &on, sizeof on);
    for (int i = 0; i < 5; i++)
      EQUAL(raw_send(pair[0], 1, &file, 1, NULL), 1);
    int descriptors = 0;
    for (int result; (result = receive(pair[1], t == 0 ? 8 : 1, 8, 1)) != -EAGAIN;) {
      CHECK(result > 0 || result == -EMFILE);
      int next = 0;
      for (int i = 0; i < result; i++)
        for (int end = next + in.count[i]; next < end; next++, descriptors++) {
          CHECK(is_same(in.fd[next], file));
          EQUAL(fdp_close(in.fd[next]), 0);
        }
    }
    EQUAL(descriptors, 5);
    EQUAL(fdp_close(file), 0);
    close_all(pair, 2);
  }
}

static void attach_turns_it_off(void) {
  int pair[2], on = 1;
  socklen_t length = sizeof on;
  EQUAL(fdp_pair(FDP_STREAM, pair), 0);
  EQUAL(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  CHECK(fdp_attach(pair[1]) >= 0);
  EQUAL(getsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, &length), 0);
  EQUAL(on, 0);
  close_all(pair, 2);
}

#endif

static void plain_bytes(void) {
  int pair[2];
  make_pair(FDP_STREAM, pair);
  EQUAL(write(pair[0], "x", 1), 1);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(in.count[0], 0);
  EQUAL(in.size[0], 1);
  close_all(pair, 2);
}

static void out_of_band(void) {
  int pair[2];
  make_pair(FDP_STREAM, pair);
  if (send(pair[0], "!", 1, MSG_OOB) < 0) {
    EQUAL(errno, EOPNOTSUPP); /* Linux 5.10 sends none over such sockets */
    close_all(pair, 2);
    return;
  }
  EQUAL(fdp_pending(pair[1]), 1);
  EQUAL(receive(pair[1], 1, 1, 1), 1);
  EQUAL(in.count[0], 0);
  EQUAL(in.size[0], 1);
  EQUAL(in_bytes[0], '!');
  EQUAL(receive(pair[1], 1, 1, 1), -EAGAIN);
  close_all(pair, 2);
}

#if !FDP_HOLD

/* A socket in its own queue has no other owner once it is closed here; the kernel collects it. */
static void sent_over_itself(void) {
  int pair[2], other[2];
  make_pair(FDP_STREAM, pair);
  make_pair(FDP_STREAM, other);
  EQUAL(send_message(pair[0], 1, &pair[1], 1), 1);
  EQUAL(send_message(other[0], 1, &pair[0], 1), 1);
  close_all(pair, 2);
  EQUAL(receive(other[1], 1, 1, 1), 1);
  int end = in.fd[0];
  /* Its peer is in that peer's own queue alone, where the kernel collects it at any moment. */
  int sent = send_message(end, 1, &end, 1);
  CHECK(sent == 1 || sent == -EPIPE);
  EQUAL(fdp_close(end), 0);
  close_all(other, 2);
}

#endif
#endif

const struct test hostile_tests[] = {
#ifndef FDP_SYSV
#ifdef FDP_BSD44
    {"several control messages with descriptors bring all of them, in order", several_control_messages},
    {"a control message without descriptors brings none", empty_rights},
    {"credentials and process descriptors that nobody asked for leave nothing open", unasked_control},
    {"attaching turns off what would put control messages beside plain bytes", attach_turns_it_off},
#endif
    {"bytes without descriptors are a message with none", plain_bytes},
    {"a byte out of band is read as any other", out_of_band},
#if !FDP_HOLD
    {"sockets in each other's queues leave nothing open", sent_over_itself},
#endif
#endif
    {0}};
