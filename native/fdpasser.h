/*
 * The contract between the C core and its caller.
 *
 * No function blocks. Each makes its system calls once, and repeats one only after EINTR. Each returns a count or a
 * descriptor (>= 0), or a negative errno. None retries or queues: that is left to the caller. Every descriptor made
 * here is close-on-exec, from the moment it exists if the system can do that.
 */
#ifndef FDPASSER_H
#define FDPASSER_H

#include <stddef.h>
#include <stdint.h>

/* Whether the last close of a descriptor can be left to a thread by sending it through a socket: see lane.c. */
#if defined(__linux__) && !defined(FDP_BSD43) && !defined(FDP_SYSV)
#define FDP_LANDING 1
#else
#define FDP_LANDING 0
#endif

enum {
  FDP_MAX_FDS = 253,    /* the most that Linux takes in one message: SCM_MAX_FD in include/net/scm.h */
  FDP_MAX_MESSAGES = 64 /* the most messages in one call */
};

/*
 * Many messages. Message i has size[i] bytes and count[i] descriptors. The descriptors of all messages follow one
 * another in fd.
 */
struct fdp_batch {
  int32_t tail; /* after a send: how many bytes of the last message taken the kernel took */
  int32_t size[FDP_MAX_MESSAGES];
  int32_t count[FDP_MAX_MESSAGES];
  int32_t fd[FDP_MAX_MESSAGES * FDP_MAX_FDS];
};

/* ---- transport: one socket ------------------------------------------------------------------------------------ */

enum fdp_type { FDP_STREAM, FDP_SEQPACKET, FDP_DGRAM };

/* Returns the fdp_type of a socket that can pass descriptors. -ENOTSOCK: it is no socket. -EAFNOSUPPORT: it is not of
 * AF_UNIX. -EINVAL: it listens. */
int fdp_socket_type(int socket);

/* Returns 1 if fdp_socket_type may succeed, and 0 otherwise. It makes one system call. */
int fdp_is_socket(int fd);

/*
 * Makes such a socket ready for fdp_receive. This sets options that everyone who shares the socket sees: how MSG_PEEK
 * works, that bytes out of band come in line, and that the kernel adds no credentials or the like. Returns what
 * fdp_detach needs to put the options back.
 */
int fdp_attach(int socket);
void fdp_detach(int socket, int attached);

/*
 * Sends the first `messages` messages of the batch, whose bytes follow one another in `bytes`. Borrows the descriptors:
 * they are the caller's before and after.
 *
 * Returns n > 0 if the kernel took messages 0 to n-1. It took each of them whole, except that on a stream it may have
 * taken only the first batch->tail bytes of the last one. The descriptors of that message went with its first byte, so
 * the rest of its bytes must be sent without them. On an error nothing was taken, and the error concerns message 0.
 */
int fdp_send(int socket, const uint8_t *bytes, struct fdp_batch *batch, int messages);

/* Limits of one fdp_receive. */
struct fdp_demand {
  int messages;    /* the most messages, up to FDP_MAX_MESSAGES; 1 on a packet socket */
  int descriptors; /* the call ends after the message with which this many descriptors have come, or more */
  /* The most descriptors in each message but the first: a message with more ends the call before it. A system that
   * cannot peek takes one message in each call, and needs this many free slots for it in a small table. */
  int expected;
  int room; /* the most descriptors in the first message. If it has more, a system that can peek returns -EMFILE */
  uint32_t stride; /* the most bytes of each message */
};

/*
 * Receives messages. The bytes of message i are at bytes + i * stride.
 *
 * Returns n > 0 if n messages were received. The caller then owns every descriptor in the batch. Returns 0 if the peer
 * has ended and nothing is left to read.
 *
 * After any error no descriptor is open that was not open before. What was not received is still in the kernel, except
 * after -EIO. -EMFILE: the descriptor table of this process, or of the system, has no room for the message. -EACCES: a
 * security module keeps something in the message from this process, each time. -EMSGSIZE: a packet is longer than the
 * stride. -EIO: descriptors are lost. The kernel ran out of memory, or somebody else reads from this socket, or, on a
 * system that cannot peek, slots were taken during the call.
 *
 * On a stream, a message longer than the stride arrives as its first bytes with all its descriptors. The rest follows
 * as plain bytes.
 *
 * A socket must have one reader: of two that receive at the same time, each would get what both had peeked at.
 */
int fdp_receive(int socket, uint8_t *bytes, const struct fdp_demand *demand, struct fdp_batch *batch);

/* Ends one direction: the peer finds the end after all that was sent (shutdown(2)), and can go on sending. */
int fdp_end_sending(int socket);

/* Says what a receive would find, and takes nothing. 1: something. 0: the end. -EAGAIN: nothing yet. Otherwise the
 * socket's error. */
int fdp_pending(int socket);

/* Returns 1 if the peer has ended both directions, so that it neither sends nor takes anything more. Otherwise 0, or a
 * negative errno. A datagram socket has no such end. */
int fdp_hung_up(int socket);

/* Returns 1 if the socket holds one message and no more, so that all descriptors in it belong to that message. Returns
 * 0 if it holds more, or if that cannot be told. Takes nothing, and may write to the bytes. */
int fdp_single(int socket, uint8_t *bytes, size_t length);

/* ---- endpoints: where sockets come from ----------------------------------------------------------------------- */

/* Makes a connected, blocking pair. On success the caller owns both. On failure none is open. */
int fdp_pair(enum fdp_type type, int pair[2]);

/*
 * Makes a non-blocking socket that is bound to `name` (`length` bytes; a first NUL makes the name abstract). It
 * listens, unless it is a datagram socket. A path gets `mode` before anyone can see it. -ENAMETOOLONG: the name does
 * not fit. -EAFNOSUPPORT: the name is abstract, and only Linux has such names.
 */
int fdp_listen(enum fdp_type type, const char *name, size_t length, unsigned mode, int backlog);

/* Makes a non-blocking socket that is connected to `name`. -EAGAIN: the listener's backlog is full; try again later. */
int fdp_connect(enum fdp_type type, const char *name, size_t length);

/* Accepts the next connection, and makes it non-blocking. -EAGAIN: none waits. -EMFILE, -ENFILE: there is no slot for
 * it, and it stays in the backlog. -EINVAL: none will come, because somebody who shares the listener has shut it down
 * (shutdown(2)). */
int fdp_accept(int listener);

/* Copies the name that a socket is bound to: a path without its NUL, or the bytes of an abstract name with its first
 * NUL. Returns how many bytes; 0 if it has no name. */
int fdp_name(int socket, char *name, size_t room);

/* Gives the socket at the path this mode. -ESTALE: what is there is no socket, or has permissions beyond `bound`, with
 * which ours was bound. Only Linux needs this: elsewhere bind gives the path its final mode. */
int fdp_set_mode(const char *path, unsigned bound, unsigned mode);

/* Makes the file unless it exists, and locks it until the returned descriptor is closed (flock(2)). The holder of the
 * lock removes the file before that. -EAGAIN: somebody else holds the lock, or has just given it up. */
int fdp_lock(const char *file);

struct fdp_peer {
  uint32_t pid, uid, gid;
};

/* The process that connected, listened or made the pair (SO_PEERCRED in unix(7)). -ENOTCONN: nobody has connected yet.
 * A pid of 0 means that the system does not tell it. */
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
 * Makes a non-blocking socket that listens on a numeric address of IPv4 or IPv6, which ends with a NUL. Port 0 stands
 * for a free one. `flags` combines FDP_IPV6_ONLY and FDP_REUSE_PORT; with the latter, several sockets share the
 * connections of a port. -EINVAL: the address is none. -EOPNOTSUPP: the system cannot share connections so.
 */
int fdp_tcp_listen(const char *address, int port, int flags, int backlog);

/* Tells what a socket is bound to. -EAFNOSUPPORT: it is no socket of IP. */
int fdp_tcp_name(int socket, struct fdp_address *name);

/*
 * Accepts connections that wait, at most `most`, and tries no oftener than that. Each is non-blocking, and comes with
 * its peer's address. Returns how many; the caller owns them. A connection that has ended in the backlog is skipped.
 * -EAGAIN: none waits. -ECONNABORTED: all those looked at had ended. -EMFILE, -ENFILE: there is no slot, and the
 * connections stay in the backlog.
 */
int fdp_accept_many(int listener, int most, int32_t *fd, struct fdp_address *peer);

/* Copies the first bytes that a receive would bring, and leaves them there. Returns how many; 0 at the end. -EAGAIN:
 * nothing is there yet. */
int fdp_peek_bytes(int socket, uint8_t *bytes, size_t length);

/* ---- one descriptor -------------------------------------------------------------------------------------------- */

/* In the order of the names in src/native/kinds.ts. */
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
 * Says from which peer an open number came. A peer can make the last close of what it sent wait, whatever that is. So
 * such closes wait in a lane of that peer's own. 0 stands for no peer: the descriptor was made here, or came in another
 * way. Origins are noted by number, for the whole process.
 */
typedef uint32_t fdp_origin;

/* Not a peer, but processes that make no close wait between the question whether it lingers and the close. */
#define FDP_TRUSTED ((fdp_origin)1)

fdp_origin fdp_new_origin(void);
fdp_origin fdp_origin_of(int fd);

/* Notes the origin of a number that has just been opened, or with 0 that it is no longer ours. What was noted of an
 * earlier use of the number is forgotten. fdp_close and its like do this themselves. */
void fdp_set_origin(int fd, fdp_origin origin);

/* The origin of what is received through a socket, or accepted from it. 0 if the socket has none. */
fdp_origin fdp_origin_through(int socket);
void fdp_set_origin_through(int socket, fdp_origin origin);

/* Whether so many descriptors of that origin wait to be closed that nothing more should be received from it. */
int fdp_is_crowded(fdp_origin origin);

#if FDP_LANDING
/* Opens the two descriptors that closing needs, so that no later close needs a free number. They stay open. To be
 * called once, before anything is received. */
void fdp_prepare_landing(void);
#endif

/*
 * Closes a number. Unless this returns -EBADF, the number must not be used any more.
 *
 * On Linux the caller never makes a last close that may wait. What came from a peer, or has a peer at its other end, is
 * dropped by a thread, unless it is known never to wait; the number is free when this returns. If the file system may
 * act at each close, the thread closes the number itself, and the number is free a little later. The same is done if
 * the system's limit on descriptors in flight is reached. Only if no thread can be started is the number closed here,
 * without lingering, and then this may wait.
 */
int fdp_close(int fd);
/* Does the same for several numbers. Consecutive numbers are closed by one call, and no errors are reported. */
void fdp_close_all(const int32_t *fd, int count);
#if FDP_LANDING
/* Closes descriptors that a peek at a socket has made, while the message is still in it. None of these closes is the
 * last one. */
void fdp_close_peeked(int socket, const int32_t *fd, int count);
#endif
/* Closes descriptors that were received from a socket and will not be handed to anyone. */
void fdp_close_lost(int socket, const int32_t *fd, int count);
/*
 * Closes a socket that nobody else has, in this process or another. Before this returns, its peer is told; a listener
 * accepts nobody any more, and its name is free. That holds whatever is in the socket. Anything but a socket of AF_UNIX
 * is closed as by fdp_close.
 */
int fdp_close_alone(int fd);

/* ---- what one descriptor is ------------------------------------------------------------------------------------- */

/* None of these functions asks the file system or the driver behind a descriptor, which the peer may be serving. */
int fdp_kind(int fd);          /* an fdp_kind */
int fdp_domain(int fd);        /* the address family of a socket */
int fdp_listening(int fd);     /* 1 or 0 */
int fdp_ipv6(int fd);          /* 1 for a socket of AF_INET6, else 0 */
int fdp_access(int fd);        /* an fdp_direction, both of them, or 0 if it was opened with O_PATH */
int fdp_check(int fd);         /* 0 if it is open, else -EBADF */
int64_t fdp_identity(int fd);  /* the same for the same file, another for another. Never waits for a file system */
int fdp_dup(int fd);           /* another descriptor of the same open file */
int fdp_close_on_exec(int fd); /* sets close-on-exec */
int fdp_pidfd(void);           /* a new descriptor for this process (pidfd_open(2)); -ENOSYS: the system has none */
int fdp_diag_socket(void); /* a new socket for questions about sockets (sock_diag(7)); -ENOSYS: the system has none */
int fdp_nonblocking(int fd, int flag); /* sets or clears O_NONBLOCK, which everyone who shares the open file sees */

/* ---- the process's descriptor table ---------------------------------------------------------------------------- */

/*
 * When the kernel grows the table of a process with threads, the thread that caused it waits until every CPU has passed
 * a quiet point (expand_fdtable in Linux's fs/file.c). Inside recvmsg that took 10 to 32 ms. So a thread of its own
 * grows the table before that is needed.
 */
int fdp_table_slots(void);     /* how many numbers the table has room for, as far as is known here */
int fdp_table_grow(int slots); /* starts growing to this size, unless a growth is under way; 0 or a negative errno */

/* ---- pollers: sources of events --------------------------------------------------------------------------------- */

enum { FDP_READABLE = 1, FDP_WRITABLE = 2, FDP_STOPPED = 4 };

struct fdp_watcher;
typedef void (*fdp_ready)(struct fdp_watcher *watcher, void *data, int events);
typedef void (*fdp_gone)(void *data);

/* A watcher belongs to the thread that opened it. Only that thread calls these functions, and its callbacks run there.
 */
struct fdp_poller {
  /*
   * Makes a watcher that watches nothing yet and does not keep the loop alive. The descriptor must stay open until
   * `close`. -EEXIST: something else watches the descriptor. -EPERM: it cannot be watched.
   */
  int (*open)(void *loop, int fd, fdp_ready ready, void *data, struct fdp_watcher **watcher);

  /*
   * Reports the events of the mask from now on, again and again as long as they last. An event that has just ended may
   * be reported once more. The end of the peer counts as readable. A socket error counts as all events, and ends the
   * watch, which FDP_STOPPED says; to go on, set the mask again.
   */
  int (*set)(struct fdp_watcher *watcher, int events);

  void (*keep_alive)(struct fdp_watcher *watcher, int flag); /* whether the loop stays alive while it watches */

  /*
   * Reports nothing any more, and the descriptor may be closed at once. `gone` is called when the memory is free, which
   * may be before this returns.
   */
  void (*close)(struct fdp_watcher *watcher, fdp_gone gone);
};

/* Its loop is libuv's. -EEXIST looks at that loop alone. -ENOSYS: this process has no libuv. */
extern const struct fdp_poller fdp_uv_poller;

/* Its loop is a mailbox. -EEXIST looks at all watchers of the process whose descriptor is still open. */
extern const struct fdp_poller fdp_thread_poller;

/* The place where the poller's thread leaves the events for one environment. */
struct fdp_mailbox;

struct fdp_mailbox_owner {
  void (*wake)(void *data);           /* by the poller's thread: arrange for fdp_mailbox_deliver. Must not call back */
  void (*hold)(void *data, int flag); /* whether the loop must stay alive; at first it need not */
  void *data;
};

/* Starts the thread, unless it runs already. -EAGAIN: it could not be started. */
int fdp_mailbox_open(const struct fdp_mailbox_owner *owner, struct fdp_mailbox **mailbox);

/* Reports the events that are there. To be called on the environment's thread. */
void fdp_mailbox_deliver(struct fdp_mailbox *mailbox);

/* To be called when its watchers are closed. `wake` is not called from then on. */
void fdp_mailbox_close(struct fdp_mailbox *mailbox);

/* ---- ledger: what one environment owns, and borrows ---------------------------------------------------------------
 */

/*
 * The part that one JavaScript environment has in the registry of the process (registry.h). With it no number gets two
 * owners, and none is closed while somebody borrows it. When a worker is terminated, at whatever moment, none of its
 * numbers stays open, although what JavaScript knew of them is gone.
 */
struct fdp_ledger {
  uint32_t owner;
  struct fdp_loans {
    int64_t identity;
    uint32_t count;
  } * lent; /* by number: what it borrows there, and how often */
  size_t size;
  int handed; /* a number that it is giving to another owner in this environment, with its identity below; or -1 */
  int64_t identity;
};

/*
 * Who closes a number when the environment ends. FDP_OURS: this ledger. FDP_OTHERS: somebody else. FDP_PERHAPS: the
 * runtime may close it after the environment has ended; if it does not, it is ours to close.
 */
enum fdp_closer { FDP_OURS, FDP_OTHERS, FDP_PERHAPS };

void fdp_ledger_open(struct fdp_ledger *ledger);
/* Records that the kernel has just given these numbers to this environment. */
void fdp_ledger_take(struct fdp_ledger *ledger, const int32_t *fd, int count);
/* Becomes the owner of an open number. -EBADF: nothing is open there. -EEXIST: it has an owner in this process.
 * -ENOMEM: it could not be recorded. */
int fdp_ledger_adopt(struct fdp_ledger *ledger, int fd, enum fdp_closer closer);
/* Gives up a number, which stays open. */
void fdp_ledger_release(struct fdp_ledger *ledger, int fd);
/* Does what fdp_close does. If somebody borrows the number, the end of the last loan closes it. -EBADF also if it is
 * not ours. */
int fdp_ledger_close(struct fdp_ledger *ledger, int fd);
int fdp_ledger_close_alone(struct fdp_ledger *ledger, int fd); /* the same with fdp_close_alone */
/* The same with fdp_close_all. Overwrites `fd`. */
void fdp_ledger_close_all(struct fdp_ledger *ledger, int32_t *fd, int count);
/* Says that an object of the runtime is about to own the number, and that fdp_ledger_release will follow. The
 * environment may end before or after that object owns it. -1 takes this back. */
void fdp_ledger_hand_over(struct fdp_ledger *ledger, int fd);

/*
 * Borrows a number, and returns its identity. If another file was open there before, the loans of that file end.
 * -EBADF: it is not open. -EEXIST: its owner has let go of it. -ENOMEM: the loan could not be recorded.
 */
int64_t fdp_ledger_lend(struct fdp_ledger *ledger, int fd);
/* Ends a loan. Returns whether that closed the number. */
int fdp_ledger_end_loan(struct fdp_ledger *ledger, int fd, int64_t identity);
int fdp_ledger_is_lent(int fd);

/* Ends all loans, and closes every number that is ours to close. */
void fdp_ledger_end(struct fdp_ledger *ledger);

/*
 * Closes what is open at the number, as fdp_close does, and puts another file in its place. The party that must close
 * the number closes that file, and fdp_vacated says that it has. Without that, the file is closed when the thread ends.
 * On failure nothing has changed.
 */
int fdp_vacate(int fd);
void fdp_vacated(int fd);
/*
 * For a number that cannot be vacated, because no number is free or somebody borrows it. What this owner has there is
 * closed when the thread ends, unless it is another file by then, or when the last loan ends.
 */
void fdp_leave(uint32_t owner, int fd);

#endif
