/**
 * The addon as TypeScript sees it: `native/addon.c`, function for function. What each does, and who owns what after it,
 * stands in `native/fdpasser.h`.
 *
 * A function that returns a number returns a negative errno when it fails.
 */
export interface Addon {
  /** `struct fdp_batch`: what sends and receives carry. One a thread, used by one call at a time. */
  readonly batch: ArrayBuffer;

  socketType(socket: number): number;
  /** Returns what `detach` needs. */
  attach(socket: number): number;
  detach(socket: number, attached: number): void;
  send(socket: number, bytes: Uint8Array, messages: number): number;
  receive(
    socket: number,
    bytes: Uint8Array,
    stride: number,
    messages: number,
    descriptors: number,
    expected: number,
    room: number,
  ): number;
  pending(socket: number): number;
  hungUp(socket: number): number;
  single(socket: number, bytes: Uint8Array): number;
  endSending(socket: number): number;

  /** Leaves both ends in the batch's descriptors. */
  pair(type: number): number;
  listen(type: number, name: Uint8Array, mode: number, backlog: number): number;
  connect(type: number, name: Uint8Array): number;
  accept(listener: number): number;
  name(socket: number, into: Uint8Array): number;
  /** The address ends with a NUL. `flags`: `IPV6_ONLY` and `REUSE_PORT`. */
  tcpListen(address: Uint8Array, port: number, flags: number, backlog: number): number;
  /** Leaves one `struct fdp_address` in the bytes. */
  tcpName(socket: number, into: Uint8Array): number;
  /** Leaves connections in the batch's descriptors, and their addresses in the bytes. */
  acceptMany(listener: number, most: number, into: Uint8Array): number;
  /** Fills the bytes with the first ones that wait to be read, which go on waiting. */
  peekBytes(socket: number, into: Uint8Array): number;
  /** The path ends with a NUL. */
  setMode(path: Uint8Array, bound: number, mode: number): number;
  /** The name of the file ends with a NUL. */
  lock(file: Uint8Array): number;
  /** Leaves pid, uid and gid in the batch's descriptors. */
  peer(socket: number): number;

  /** Takes ownership of an open number; `-EEXIST` when it has an owner in this process. */
  adopt(fd: number, closer: Closer): number;
  /** Gives up ownership, leaving the descriptor open. */
  release(fd: number): void;
  /** An object of the runtime is about to own it, and `release` follows. -1: it does not come to that. */
  handOver(fd: number): void;
  /** Closes a descriptor and gives up its ownership. One that is lent is closed when the last loan is over. */
  close(fd: number): number;
  /** The same of a socket that nobody else has: its peer, or its name, is free of it at once. */
  closeAlone(fd: number): number;
  /** As `close` for so many in the batch's descriptors, without word of any that was not open. */
  closeAll(count: number): void;
  /**
   * Closes what is open there, and puts a file in its place for somebody to close by the number, who then says
   * `vacated`.
   */
  vacate(fd: number): number;
  vacated(fd: number): void;

  /** Borrows a number: its owner's close waits. Returns its identity; `-EEXIST` when its owner has let go of it. */
  lend(fd: number): number;
  /** Whether that closed it. `identity` is what `lend` returned. */
  endLoan(fd: number, identity: number): number;
  /** In any thread. */
  isLent(fd: number): number;
  /** Of the file that is open there: equal for the same file. */
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
  /** A new descriptor for this process itself; `-ENOSYS` where there is none. */
  pidfd(): number;
  /** A new socket to ask the kernel of sockets with; `-ENOSYS` where there is none. */
  diagSocket(): number;

  tableSlots(): number;
  growTable(slots: number): number;

  /**
   * Before anything is watched: the poller that has a thread, which then runs, or libuv's. `woken` is told that the
   * thread has something to `deliver`, and not again before that was called.
   */
  usePoller(thread: boolean, woken: () => void): number;
  deliver(): void;
  watch(fd: number, ready: (events: number) => void): Watch | number;
  watchFor(watch: Watch, events: number): number;
  keepAlive(watch: Watch, flag: boolean): void;
  unwatch(watch: Watch): void;
}

/** A watched descriptor; of no use after `unwatch`. */
export interface Watch {
  readonly opaque: unique symbol;
}

/** Events of a watch, as in `native/fdpasser.h`. */
export const READABLE = 1;
export const WRITABLE = 2;
export const STOPPED = 4;

/** Flags of `tcpListen`, and the bytes of one `struct fdp_address`, as in `native/fdpasser.h`. */
export const IPV6_ONLY = 1;
export const REUSE_PORT = 2;
export const ADDRESS_BYTES = 50;

/** What may be done with a descriptor, as in `native/fdpasser.h`. */
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
