/*
 * Preloaded into a process that a sandbox is to refuse system calls, as container runtimes do by seccomp(2). REFUSED
 * has their names behind ENOSYS or EPERM: "EPERM sendmmsg accept4". Its children are refused them, too.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
  const char *name;
  unsigned number;
} calls[] = {
    {"accept4", SYS_accept4},
    {"clone3", SYS_clone3},
    {"close_range", SYS_close_range},
    {"dup3", SYS_dup3},
    {"fchmod", SYS_fchmod},
    {"flock", SYS_flock},
    {"io_uring_setup", SYS_io_uring_setup},
    {"pidfd_open", SYS_pidfd_open},
    {"prlimit64", SYS_prlimit64},
    {"recvmmsg", SYS_recvmmsg},
    {"recvmsg", SYS_recvmsg},
    {"renameat2", SYS_renameat2},
    {"sendmmsg", SYS_sendmmsg},
    {"sendmsg", SYS_sendmsg},
    {"statx", SYS_statx},
};
enum { CALLS = sizeof calls / sizeof *calls };

static unsigned number_of(const char *name) {
  for (int i = 0; i < CALLS; i++)
    if (strcmp(calls[i].name, name) == 0)
      return calls[i].number;
  fprintf(stderr, "refuse.c does not know %s\n", name);
  _exit(99);
}

/* A call whose argument has one of the bits, or is the value where `match` is BPF_JEQ, answers so. */
enum { GVISOR = 3 * 5 };

static unsigned short answer(struct sock_filter *filter, unsigned number, int argument, unsigned short match,
                             unsigned value, unsigned error) {
  const struct sock_filter rule[] = {
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(offsetof(struct seccomp_data, args) + 8 * (size_t)argument)),
      BPF_JUMP(BPF_JMP | match | BPF_K, value, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
  };
  memcpy(filter, rule, sizeof rule);
  return sizeof rule / sizeof *rule;
}

__attribute__((constructor)) static void refuse(void) {
  struct sock_filter filter[2 + 2 * CALLS + GVISOR];
  unsigned short length = 0;
  char names[512] = "";
  const char *refused = getenv("REFUSED");
  if (!refused)
    return;
  strncpy(names, refused, sizeof names - 1);
  unsigned error = strcmp(strtok(names, " "), "ENOSYS") == 0 ? ENOSYS : EPERM;
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (const char *name; (name = strtok(NULL, " "));) {
    if (strcmp(name, "gvisor") == 0) {
      length += answer(filter + length, SYS_setsockopt, 2, BPF_JEQ, SO_PEEK_OFF, 0);
      length += answer(filter + length, SYS_getsockopt, 2, BPF_JEQ, SO_PEEK_OFF, ENOPROTOOPT);
      length += answer(filter + length, SYS_recvmmsg, 3, BPF_JSET, MSG_PEEK, EINVAL);
      continue;
    }
    filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number_of(name), 0, 1);
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
  }
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {length, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
    perror("seccomp");
    _exit(99);
  }
}
