/**
 * The types of what `native/addon.c` exports, function by function. `native/fdpasser.h` says what each function does,
 * and who owns what afterwards.
 *
 * A function that returns a number returns a negative errno when it fails.
 */
export interface Addon {
  /**
   * `struct fdp_demand`: the limits of a receive; and `struct fdp_batch`: the descriptors and sizes that one call takes
   * or returns. Each thread has one of each, which are used by one call at a time.
   */
  readonly batch: ArrayBuffer;

  socketType(socket: number): number;
  /** Returns 1 if `socketType` may succeed, and 0 otherwise. It makes one system call instead of three. */
  isSocket(fd: number): number;
  /** Sets the options that receiving needs. Returns what `detach` needs to put them back. */
  attach(socket: number): number;
  detach(socket: number, attached: number): void;
  send(socket: number, bytes: Uint8Array, messages: number): number;
  receive(socket: number, bytes: Uint8Array): number;
  pending(socket: number): number;
  hungUp(socket: number): number;
  single(socket: number, bytes: Uint8Array): number;
  endSending(socket: number): number;

  /** Writes both ends to the descriptors of the batch. */
  pair(type: number): number;
  listen(type: number, name: Uint8Array, mode: number, backlog: number): number;
  connect(type: number, name: Uint8Array): number;
  accept(listener: number): number;
  name(socket: number, into: Uint8Array): number;
  /** The address ends with a NUL. `flags` combines `IPV6_ONLY` and `REUSE_PORT`. */
  tcpListen(address: Uint8Array, port: number, flags: number, backlog: number): number;
  /** Writes one `struct fdp_address` to the bytes. */
  tcpName(socket: number, into: Uint8Array): number;
  /**
   * Writes the connections to the descriptors of the batch, and their addresses to the bytes. `trusted` is 1 if only
   * processes get them that will not make their close wait, and otherwise 0.
   */
  acceptMany(listener: number, most: number, into: Uint8Array, trusted: 0 | 1): number;
  /** Copies the first bytes that wait to be read, and leaves them unread. */
  peekBytes(socket: number, into: Uint8Array): number;
  /** The path ends with a NUL. */
  setMode(path: Uint8Array, bound: number, mode: number): number;
  /** The name of the file ends with a NUL. */
  lock(file: Uint8Array): number;
  /** Writes pid, uid and gid to the first three descriptors of the batch. */
  peer(socket: number): number;

  /** Takes ownership of an open number. `-EEXIST`: it has an owner in this process. */
  adopt(fd: number, closer: Closer): number;
  /** Gives up ownership, leaving the descriptor open. */
  release(fd: number): void;
  /**
   * Says that an object of the runtime is about to own the number, and that `release` will follow. -1 takes that back.
   */
  handOver(fd: number): void;
  /**
   * Closes a descriptor and gives up its ownership. If it is lent, it is closed when the last loan ends. Returns
   * nothing if it succeeds.
   */
  close(fd: number): number | undefined;
  /**
   * Does the same for a socket that no other process and no duplicate shares. Its peer is told, or its name is free,
   * before this returns.
   */
  closeAlone(fd: number): number;
  /**
   * Does what `close` does for the first `count` descriptors of the batch. It reports no error for one that is not
   * open.
   */
  closeAll(count: number): void;
  /**
   * Closes what is open at the number, and puts another file in its place, which somebody then closes by the number.
   * `vacated` says that this was done.
   */
  vacate(fd: number): number;
  vacated(fd: number): void;

  /** Borrows a number, so that its owner's close waits. Returns its identity. `-EEXIST`: its owner has let go of it. */
  lend(fd: number): number;
  /** Ends a loan. Returns 1 if that closed the number, 0 otherwise. `identity` is what `lend` returned. */
  endLoan(fd: number, identity: number): number;
  /** Returns 1 if any thread of the process borrows the number, 0 otherwise. */
  isLent(fd: number): number;
  /** Returns the identity of the file that is open at the number: the same for the same file, another for another. */
  identity(fd: number): number;

  check(fd: number): number;
  kind(fd: number): number;
  listening(fd: number): number;
  ipv6(fd: number): number;
  access(fd: number): number;
  dup(fd: number): number;
  closeOnExec(fd: number): number;
  setNonblocking(fd: number): number;
  setBlocking(fd: number): number;
  /** Returns a new descriptor that stands for this process (pidfd_open(2)). `-ENOSYS`: the system has none. */
  pidfd(): number;
  /** Returns a new socket for asking the kernel about sockets (sock_diag(7)). `-ENOSYS`: the system has none. */
  diagSocket(): number;

  tableSlots(): number;
  growTable(slots: number): number;

  /**
   * Chooses the poller, before anything is watched: the one with a thread of its own, which this starts, or libuv's.
   * The thread's poller calls `woken` when there is something to `deliver`, and calls it again only after `deliver` was
   * called.
   */
  usePoller(thread: boolean, woken: () => void): number;
  deliver(): void;
  /** Returns a negative errno if it fails. Calls `ready` with the events, until `unwatch`. */
  watch(fd: number, owner: { ready(events: number): void }): Watch | number;
  watchFor(watch: Watch, events: number): number;
  keepAlive(watch: Watch, flag: boolean): void;
  unwatch(watch: Watch): void;
}

/** A watched descriptor. It must not be used after `unwatch`. */
export interface Watch {
  readonly opaque: unique symbol;
}

/** Events of a watch, as in `native/fdpasser.h`. */
export const READABLE = 1;
export const WRITABLE = 2;
export const STOPPED = 4;

/** Flags of `tcpListen`, and the size of one `struct fdp_address` in bytes, as in `native/fdpasser.h`. */
export const IPV6_ONLY = 1;
export const REUSE_PORT = 2;
export const ADDRESS_BYTES = 50;

/** The directions in which a descriptor is open, as in `native/fdpasser.h`. */
export const READ = 1;
export const WRITE = 2;

/** The most descriptors in one message, and the most messages in one call, as in `native/fdpasser.h`. */
export const MAX_FDS = 253;
export const MAX_MESSAGES = 64;

/** Who closes a number when the environment ends, as in `native/fdpasser.h`. */
export const OURS = 0;
export const OTHERS = 1;
export const PERHAPS = 2;
export type Closer = typeof OURS | typeof OTHERS | typeof PERHAPS;
