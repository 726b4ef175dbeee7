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
  attach(socket: number): number;
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
  endSending(socket: number): number;

  /** Leaves both ends in the batch's descriptors. */
  pair(type: number): number;
  listen(type: number, name: Uint8Array, mode: number, backlog: number): number;
  connect(type: number, name: Uint8Array): number;
  accept(listener: number): number;
  /** Leaves pid, uid and gid in the batch's descriptors. */
  peer(socket: number): number;

  /**
   * Takes ownership of an open number; `-EEXIST` when it has an owner in this thread. With `others`, somebody else closes
   * it when the environment ends.
   */
  adopt(fd: number, others: boolean): number;
  /** Gives up ownership, leaving the descriptor open. */
  release(fd: number): number;
  /** Closes a descriptor and gives up its ownership. */
  close(fd: number): number;
  /** The same for so many in the batch's descriptors, without word of any that was not open. */
  closeAll(count: number): number;
  check(fd: number): number;
  kind(fd: number): number;
  listening(fd: number): number;
  ipv6(fd: number): number;
  access(fd: number): number;
  dup(fd: number): number;
  closeOnExec(fd: number): number;
  setNonblocking(fd: number): number;
  lock(fd: number): number;
  /** A new descriptor for this process itself; `-ENOSYS` where there is none. */
  pidfd(): number;

  tableSlots(): number;
  growTable(slots: number): number;

  /** Before anything is watched: the poller that has a thread, which then runs, or libuv's. */
  usePoller(thread: boolean): number;
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

/** What may be done with a descriptor, as in `native/fdpasser.h`. */
export const READ = 1;
export const WRITE = 2;

/** The most descriptors in one message, and the most messages in one call, as in `native/fdpasser.h`. */
export const MAX_FDS = 253;
export const MAX_MESSAGES = 64;
