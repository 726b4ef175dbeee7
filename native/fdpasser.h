/*
 * The contract between the C core and whoever drives it.
 *
 * Every function makes its system calls once, restarted only after EINTR, never blocks, and returns a count or a
 * descriptor (>= 0) or a negative errno. None retries or queues: that is the caller's.
 * Every descriptor made here is close-on-exec: from its first instant where the system has a way to say so.
 */
#ifndef FDPASSER_H
#define FDPASSER_H

#include <stddef.h>
#include <stdint.h>

/* Whether descriptors can be closed from where they lie in a socket: see lane.c. */
#if defined(__linux__) && !defined(FDP_BSD43) && !defined(FDP_SYSV)
#define FDP_LANDING 1
#else
#define FDP_LANDING 0
#endif

enum {
  FDP_MAX_FDS = 253,    /* what Linux takes in one message: SCM_MAX_FD in include/net/scm.h */
  FDP_MAX_MESSAGES = 64 /* how many messages one call carries */
};

/*
 * Many messages at once. Message i has size[i] bytes and count[i] descriptors; the descriptors of all messages stand
 * one after the other in fd.
 */
struct fdp_batch {
  int32_t tail; /* after a send: how many bytes the kernel took of the last message that it took */
  int32_t size[FDP_MAX_MESSAGES];
  int32_t count[FDP_MAX_MESSAGES];
  int32_t fd[FDP_MAX_MESSAGES * FDP_MAX_FDS];
};

/* ---- transport: one socket ------------------------------------------------------------------------------------ */

enum fdp_type { FDP_STREAM, FDP_SEQPACKET, FDP_DGRAM };

/* The fdp_type of a socket that can pass descriptors. -ENOTSOCK: not a socket. -EAFNOSUPPORT: not AF_UNIX. -EINVAL: it
 * listens. */
int fdp_socket_type(int socket);

/*
 * Makes such a socket ready for fdp_receive. This sets options that all who share it have: how MSG_PEEK works, that
 * bytes out of band come in line, and that the kernel adds no credentials and the like. Returns what fdp_detach needs
 * to put them back.
 */
int fdp_attach(int socket);
void fdp_detach(int socket, int attached);

/*
 * Sends the first `messages` of the batch, their bytes standing one after the other in `bytes`. Borrows the
 * descriptors: they are the caller's before and after.
 *
 * Returns n > 0 when the kernel took messages 0..n-1: all of each but, on a stream, of the last only batch->tail bytes.
 * Its descriptors went with its first byte, so the rest of its bytes must be sent without them.
 * On an error nothing was taken; the error concerns message 0.
 */
int fdp_send(int socket, const uint8_t *bytes, struct fdp_batch *batch, int messages);

/* How much fdp_receive may take. */
struct fdp_demand {
  int messages;    /* at most so many, up to FDP_MAX_MESSAGES; 1 on a packet socket */
  int descriptors; /* stop after the message that brings as many as these, or more */
  int expected;    /* descriptors in each message but the first: more end the call before that message. Where the system
                    * cannot peek one message comes a call, and this says how many slots it needs in a small table */
  int room;        /* descriptors in the first message: more are -EMFILE, where the system can peek */
  uint32_t stride; /* room for the bytes of each message */
};

/*
 * Receives messages. The bytes of message i stand at bytes + i * stride.
 *
 * Returns n > 0 with n messages; the caller then owns every descriptor in the batch. 0: the peer has ended and nothing
 * is left to read. -EMFILE: no room in this process's descriptor table (or the system's); the message is still in the
 * kernel, whole. After any error no descriptor is open that was not before. On a stream, a message longer than the
 * stride arrives as its first bytes with all its descriptors, and the rest follows as plain bytes. -EACCES: a security
 * module keeps something of it from this process, for good; it is still in the kernel. -EMSGSIZE: a packet
 * longer than the stride; it is still in the kernel. -EIO: descriptors are lost, because the kernel ran out of memory,
 * somebody else reads from this socket or, where the system cannot peek, slots were taken during the call. After any
 * other error all that was not received yet is still there.
 *
 * One reader per socket: two that receive at the same time would each get what both peeked.
 */
int fdp_receive(int socket, uint8_t *bytes, const struct fdp_demand *demand, struct fdp_batch *batch);

/* The peer will find the end after what was sent (shutdown(2)); it can go on sending. */
int fdp_end_sending(int socket);

/* Tells, taking nothing, what a receive would find: 1 something, 0 the end, -EAGAIN nothing yet, or the socket's error.
 */
int fdp_pending(int socket);

/* 1 when the peer has gone altogether: it sends nothing more, and takes nothing. 0, or a negative errno. A datagram
 * socket has no such end. */
int fdp_hung_up(int socket);

/* Whether what a receive would bring first is all that is there, so that the descriptors in the socket are those of one
 * message: 1, or 0 for "no" and for "it cannot be told". Takes nothing, and may write to the bytes. */
int fdp_single(int socket, uint8_t *bytes, size_t length);

/* ---- endpoints: where sockets come from ----------------------------------------------------------------------- */

/* A connected, blocking pair. On success the caller owns both; on failure none is open. */
int fdp_pair(enum fdp_type type, int pair[2]);

/*
 * A non-blocking socket bound to `name` (`length` bytes; a first NUL makes the name abstract) and, unless a datagram
 * socket, listening. A path gets `mode` before anyone can see it. -ENAMETOOLONG: the name does not fit.
 * -EAFNOSUPPORT: a name is abstract, and that is Linux's alone.
 */
int fdp_listen(enum fdp_type type, const char *name, size_t length, unsigned mode, int backlog);

/* A non-blocking socket connected to `name`. -EAGAIN: the listener's backlog is full; try again later. */
int fdp_connect(enum fdp_type type, const char *name, size_t length);

/* The next connection, non-blocking. -EAGAIN: none waits. -EMFILE, -ENFILE: it waits on in the backlog. -EINVAL: none
 * will come, since somebody who shares the listener has shut it down (shutdown(2)). */
int fdp_accept(int listener);

/* The name that a socket is bound to: the path without its NUL, or the bytes of an abstract name, its first NUL among
 * them. Returns how many; 0: it has none. */
int fdp_name(int socket, char *name, size_t room);

/* Gives the socket at the path this mode; -ESTALE when what is there has permissions beyond `bound`, those that it was
 * bound with, or is no socket. Linux alone needs it: elsewhere bind gives the whole mode. */
int fdp_set_mode(const char *path, unsigned bound, unsigned mode);

/* Makes the file unless it is there, and locks it until the descriptor returned is closed (flock(2)). Whoever has the
 * lock removes the file before that. -EAGAIN: another has it, or had it until now. */
int fdp_lock(const char *file);

struct fdp_peer {
  uint32_t pid, uid, gid;
};

/* Who connected, listened or made the pair (SO_PEERCRED in unix(7)). -ENOTCONN: nobody yet. A pid of 0: the system does
 * not say. */
int fdp_peer(int socket, struct fdp_peer *peer);

/* ---- tcp.c: listeners and connections of IP --------------------------------------------------------------------- */

/* An address as text, which ends with a NUL, and its port. */
struct fdp_address {
  uint16_t port;
  uint8_t is_ipv6;
  char text[46]; /* INET6_ADDRSTRLEN */
};

enum { FDP_IPV6_ONLY = 1, FDP_REUSE_PORT = 2 };

/*
 * A non-blocking socket that listens on a numeric address of IPv4 or IPv6, which ends with a NUL; port 0 is a free one.
 * `flags`: FDP_IPV6_ONLY, and FDP_REUSE_PORT, with which several sockets share the connections of a port. -EINVAL: no
 * such address. -EOPNOTSUPP: the system does not share them out.
 */
int fdp_tcp_listen(const char *address, int port, int flags, int backlog);

/* What a socket is bound to. -EAFNOSUPPORT: it is none of IP. */
int fdp_tcp_name(int socket, struct fdp_address *name);

/*
 * Accepts the connections that wait, at most so many, and looks at no more: each non-blocking, with its peer's address.
 * Returns how many; the caller owns them. A connection that has ended in the backlog is passed over. -EAGAIN: none
 * waits. -ECONNABORTED: only such as have ended. -EMFILE, -ENFILE: no room for one, and they wait on in the backlog.
 */
int fdp_accept_many(int listener, int most, int32_t *fd, struct fdp_address *peer);

/* Copies the first bytes that a receive would bring, and leaves them there: how many, 0 at the end, -EAGAIN. */
int fdp_peek_bytes(int socket, uint8_t *bytes, size_t length);

/* ---- one descriptor -------------------------------------------------------------------------------------------- */

/* In the order of the names in src/descriptor/owned-fd.ts. */
enum fdp_kind {
  FDP_FILE,
  FDP_DIRECTORY,
  FDP_FIFO,
  FDP_TTY,
  FDP_CHARACTER_DEVICE,
  FDP_BLOCK_DEVICE,
  FDP_SYMLINK,
  FDP_TCP,
  FDP_UDP,
  FDP_UNIX_STREAM,
  FDP_UNIX_DGRAM,
  FDP_UNIX_SEQPACKET,
  FDP_SOCKET,
  FDP_ANONYMOUS
};

enum fdp_direction { FDP_READ = 1, FDP_WRITE = 2 };

/* ---- closing ---------------------------------------------------------------------------------------------------- */

/*
 * Which peer an open number came from. Whatever it is, that peer may see to it that its last close waits, so those wait
 * in a lane of their own. 0 is nobody: made here, or come from elsewhere. Noted for the whole process, by number.
 */
typedef uint32_t fdp_origin;

fdp_origin fdp_new_origin(void);
fdp_origin fdp_origin_of(int fd);
void fdp_set_origin(int fd, fdp_origin origin);

/* What is received through a socket, or accepted from it, has this origin; 0 when it is no such socket. */
fdp_origin fdp_origin_through(int socket);
void fdp_set_origin_through(int socket, fdp_origin origin);

/* The number is not ours any more, or new. fdp_close and its like do this by themselves. */
void fdp_forget_origin(int fd);

/* Whether so much of that origin waits to be closed that nothing more should be taken from it. */
int fdp_is_crowded(fdp_origin origin);

#if FDP_LANDING
/* Opens the two numbers that closing needs for good, so that no close needs another. Once, before anything is received.
 */
void fdp_prepare_landing(void);
#endif

/*
 * The number must not be used any more whatever this returns, but for -EBADF. On Linux nothing in which a peer had any
 * part is closed for the last time here, unless it is known never to wait: the number is free when this returns, and a
 * thread drops what it was. Of a file whose file system may act on each close, the thread makes the close itself, and
 * the number is free a little later; likewise where the system's bound on descriptors in flight is reached. Only where
 * no thread can be started at all is it closed here, without lingering, and may wait.
 */
int fdp_close(int fd);
/* The same for several. Numbers in a row are closed by one call, and errors are not told. */
void fdp_close_all(const int32_t *fd, int count);
#if FDP_LANDING
/* Of what was peeked at in a socket and is still there: none of these is the last close. */
void fdp_close_peeked(int socket, const int32_t *fd, int count);
#endif
/* Of what came out of a socket, and is not handed on. */
void fdp_close_lost(int socket, const int32_t *fd, int count);
/*
 * Closes a socket that nobody else has, in this process or another. Its peer hears of it before this returns, and a
 * listener lets nobody in any more and has its name free, whatever lies in it. What is no socket of AF_UNIX: as
 * fdp_close.
 */
int fdp_close_alone(int fd);

/* ---- what one descriptor is ------------------------------------------------------------------------------------- */

/* None of these asks the file system or the driver behind it, which may be the peer. */
int fdp_kind(int fd);          /* an fdp_kind */
int fdp_domain(int fd);        /* the address family of a socket */
int fdp_listening(int fd);     /* 1 or 0 */
int fdp_ipv6(int fd);          /* 1 for a socket of AF_INET6, else 0 */
int fdp_access(int fd);        /* an fdp_direction, both, or 0: opened with O_PATH */
int fdp_check(int fd);         /* 0 when it is open, else -EBADF */
int64_t fdp_identity(int fd);  /* of its file: equal for the same one, else not. Does not wait for a file system */
int fdp_dup(int fd);           /* another descriptor of the same open file */
int fdp_close_on_exec(int fd); /* sets it */
int fdp_pidfd(void);           /* a new descriptor for this process (pidfd_open(2)); -ENOSYS: none here */
int fdp_diag_socket(void);     /* a new one to ask the kernel of sockets with (sock_diag(7)); -ENOSYS: none here */
int fdp_nonblocking(int fd, int flag); /* sets or clears O_NONBLOCK, which all who share the open file see */

/* ---- the process's descriptor table ---------------------------------------------------------------------------- */

/*
 * Growing the table stops a threaded process for as long as every CPU takes to pass a quiet point (expand_fdtable in
 * Linux's fs/file.c): 10 to 32 ms were seen inside recvmsg. So it is grown ahead of need, by a thread of its own.
 */
int fdp_table_slots(void);     /* how many numbers need no growing, as far as is known here */
int fdp_table_grow(int slots); /* starts growing to so many, unless a growth is under way; 0 or a negative errno */

/* ---- pollers: sources of events --------------------------------------------------------------------------------- */

enum { FDP_READABLE = 1, FDP_WRITABLE = 2, FDP_STOPPED = 4 };

struct fdp_watcher;
typedef void (*fdp_ready)(struct fdp_watcher *watcher, void *data, int events);
typedef void (*fdp_gone)(void *data);

/* A watcher belongs to the thread that opened it, which alone calls these and is alone called by them. */
struct fdp_poller {
  /*
   * Watches nothing yet, and does not keep the loop alive. The descriptor must stay open until `close`.
   * -EEXIST: something else watches the descriptor. -EPERM: it cannot be watched.
   */
  int (*open)(void *loop, int fd, fdp_ready ready, void *data, struct fdp_watcher **watcher);

  /*
   * Reports from now on, as long as they last, the events of the mask; what just ended may be reported once more. The
   * end of the peer counts as readable. A socket error counts as all events and ends the watch, which FDP_STOPPED says:
   * set the mask again.
   */
  int (*set)(struct fdp_watcher *watcher, int events);

  void (*keep_alive)(struct fdp_watcher *watcher, int flag); /* whether the loop lives on for it while it watches */

  /*
   * Nothing is reported any more and the descriptor may be closed at once; `gone` is told when the memory is free,
   * which may be before this returns.
   */
  void (*close)(struct fdp_watcher *watcher, fdp_gone gone);
};

/* Its loop is libuv's. -EEXIST is about that loop. -ENOSYS: there is no libuv here. */
extern const struct fdp_poller fdp_uv_poller;

/* Its loop is a mailbox. -EEXIST is about the watchers of the process whose descriptor is still open. */
extern const struct fdp_poller fdp_thread_poller;

/* Where the poller's thread leaves the events of one environment. */
struct fdp_mailbox;

struct fdp_mailbox_owner {
  void (*wake)(void *data);           /* by the poller's thread: call fdp_mailbox_deliver soon. Must not call back */
  void (*hold)(void *data, int flag); /* whether the loop must live on, which at first it need not */
  void *data;
};

/* Starts the thread, unless it runs already. -EAGAIN: it could not be started. */
int fdp_mailbox_open(const struct fdp_mailbox_owner *owner, struct fdp_mailbox **mailbox);

/* Reports what is there, on the environment's thread. */
void fdp_mailbox_deliver(struct fdp_mailbox *mailbox);

/* When its watchers are closed: `wake` is not called from then on. */
void fdp_mailbox_close(struct fdp_mailbox *mailbox);

/* ---- ledger: what one environment owns, and borrows ---------------------------------------------------------------
 */

/*
 * The part of one JavaScript environment in the registry of the process (registry.h), so that no number gets two
 * owners, none is closed while somebody borrows it, and a worker terminated at any instant leaves none open: what
 * JavaScript knew is gone by then.
 */
struct fdp_ledger {
  uint32_t owner;
  struct fdp_loans {
    int64_t identity;
    uint32_t count;
  } * lent; /* what it borrows under each number, and how often */
  size_t size;
  int handed; /* a number that it gives to another owner in this environment, and what it is; or -1 */
  int64_t identity;
};

/*
 * Who closes a number when the environment ends. FDP_OTHERS: somebody else. FDP_PERHAPS: the runtime does once the
 * environment has ended, or else it is ours.
 */
enum fdp_closer { FDP_OURS, FDP_OTHERS, FDP_PERHAPS };

void fdp_ledger_open(struct fdp_ledger *ledger);
/* The kernel has just given these numbers to this environment. */
void fdp_ledger_take(struct fdp_ledger *ledger, const int32_t *fd, int count);
/* -EBADF: nothing is open there. -EEXIST: it has an owner in this process. -ENOMEM: not recorded. */
int fdp_ledger_adopt(struct fdp_ledger *ledger, int fd, enum fdp_closer closer);
/* It has no owner any more, and stays open. */
void fdp_ledger_release(struct fdp_ledger *ledger, int fd);
/* As fdp_close; but if somebody borrows it, whoever is the last to do so closes it. -EBADF also if it is not ours. */
int fdp_ledger_close(struct fdp_ledger *ledger, int fd);
int fdp_ledger_close_alone(struct fdp_ledger *ledger, int fd); /* as fdp_close_alone, likewise */
/* As fdp_close_all, likewise. Uses the room of `fd`. */
void fdp_ledger_close_all(struct fdp_ledger *ledger, int32_t *fd, int count);
/* An object of the runtime is about to own it, and then fdp_ledger_release is called. Either may come to its end. */
void fdp_ledger_hand_over(struct fdp_ledger *ledger, int fd);

/*
 * Borrows a number: returns its identity. Loans of what was open there before are over. -EBADF. -EEXIST: its owner has
 * let go of it. -ENOMEM.
 */
int64_t fdp_ledger_lend(struct fdp_ledger *ledger, int fd);
/* Returns whether that closed it. */
int fdp_ledger_end_loan(struct fdp_ledger *ledger, int fd, int64_t identity);
int fdp_ledger_is_lent(int fd);

/* Ends all loans, and closes what is ours to close. */
void fdp_ledger_end(struct fdp_ledger *ledger);

/*
 * Closes what is open there as fdp_close does, and leaves another file in its place. Whoever ought to closes that by
 * the number, and fdp_vacated tells so; it is closed when the thread ends unless that was done. On failure nothing has
 * changed.
 */
int fdp_vacate(int fd);
void fdp_vacated(int fd);
/*
 * For want of a free number, or because somebody borrows it: closes what this owner has there when the thread ends,
 * unless it is another file by then, or when the last loan is over.
 */
void fdp_leave(uint32_t owner, int fd);

#endif
