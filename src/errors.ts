import { constants } from 'node:os';
import { shown, withCode } from './common/arguments.js';
import { builtin } from './common/lazy-modules.js';

/** The codes of the library's own errors. `docs/errors.md` says for each what to do. */
export type FdPasserErrorCode =
  | 'ERR_FDPASSER_ADDON'
  | 'ERR_FDPASSER_BUSY'
  | 'ERR_FDPASSER_CLOSED'
  | 'ERR_FDPASSER_CLOSED_BEHIND'
  | 'ERR_FDPASSER_CLUSTER'
  | 'ERR_FDPASSER_CODEC'
  | 'ERR_FDPASSER_DENIED'
  | 'ERR_FDPASSER_DETACHED'
  | 'ERR_FDPASSER_ENVIRONMENT'
  | 'ERR_FDPASSER_GONE'
  | 'ERR_FDPASSER_HELLO'
  | 'ERR_FDPASSER_HTTP_BUSY'
  | 'ERR_FDPASSER_LENT'
  | 'ERR_FDPASSER_MANAGED'
  | 'ERR_FDPASSER_NOT_ASKED'
  | 'ERR_FDPASSER_NOT_A_PAIR'
  | 'ERR_FDPASSER_NOT_OPEN'
  | 'ERR_FDPASSER_NOT_OWNED'
  | 'ERR_FDPASSER_NO_DATA'
  | 'ERR_FDPASSER_NO_REPLY'
  | 'ERR_FDPASSER_NO_REQUESTS'
  | 'ERR_FDPASSER_OWNED'
  | 'ERR_FDPASSER_POLLER'
  | 'ERR_FDPASSER_PROTOCOL'
  | 'ERR_FDPASSER_ROLLED_BACK'
  | 'ERR_FDPASSER_RUNTIME'
  | 'ERR_FDPASSER_STATE'
  | 'ERR_FDPASSER_STEP_TIMEOUT'
  | 'ERR_FDPASSER_TIMEOUT'
  | 'ERR_FDPASSER_TLS'
  | 'ERR_FDPASSER_TOO_LARGE'
  | 'ERR_FDPASSER_UNREAD'
  | 'ERR_FDPASSER_UNREADABLE'
  | 'ERR_FDPASSER_WORKER'
  | 'ERR_FDPASSER_WRONG_KIND';

/**
 * A failure that this library itself has found. `code` is stable, and listed in `docs/errors.md`. Failures of the
 * operating system are plain errors with Node's `code`, `errno`, `syscall` and `path` instead.
 */
export class FdPasserError extends Error {
  readonly code: FdPasserErrorCode;

  constructor(code: FdPasserErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'FdPasserError';
    this.code = code;
  }
}

/**
 * Makes the error of a failed system call in the form of Node's. `errno` is negative. `advice` says what to do about
 * it.
 */
export function systemError(
  errno: number,
  syscall: string,
  detail: { path?: string; advice?: string } = {},
): NodeJS.ErrnoException {
  const [code, text] = builtin.util.getSystemErrorMap().get(errno) ?? [`E${-errno}`, 'unknown error'];
  const on = detail.path === undefined ? '' : ` '${detail.path.replaceAll('\0', '@')}'`;
  const advice = detail.advice === undefined ? '' : `. ${detail.advice}`;
  const error: NodeJS.ErrnoException = new Error(`${code}: ${text}, ${syscall}${on}${advice}`);
  error.code = code;
  error.errno = errno;
  error.syscall = syscall;
  if (detail.path !== undefined) error.path = detail.path;
  return error;
}

/** What Node says of a `listen()` at an address where another server of this program listens, or is to. */
export function addressInUse({ path, host = '::', port }: { path?: string; host?: string | undefined; port?: number }) {
  const error = systemError(-constants.errno.EADDRINUSE, 'listen', { path: path ?? `${host}:${port}` });
  return Object.assign(error, { address: path ?? host, ...(path === undefined && { port }) });
}

/** Returns `result`, or throws a system error if it is a negative errno. */
export function checked(result: number, syscall: string, detail?: { path?: string; advice?: string }): number {
  if (result < 0) throw systemError(result, syscall, detail);
  return result;
}

/** The error for a datagram that is longer than its receiver accepts. */
export function longDatagram(maxBytes: number): NodeJS.ErrnoException {
  const advice = `It has more than ${maxBytes} bytes, and stays in the queue. Receive it with a larger maxBytes`;
  return systemError(-constants.errno.EMSGSIZE, 'recvmsg', { advice });
}

/** The error for what Node's permission model forbids, in the form of Node's. */
export function pathForbidden(right: 'fs.read' | 'fs.write', path: string): Error {
  const [permission, flag] =
    right === 'fs.read' ? ['FileSystemRead', '--allow-fs-read'] : ['FileSystemWrite', '--allow-fs-write'];
  const message = `Access to '${path}' is restricted: a listener creates its path and removes it. Use ${flag}`;
  return Object.assign(new Error(message), { code: 'ERR_ACCESS_DENIED', permission, resource: path });
}

export function aborted(signal: AbortSignal): Error {
  const error = new Error('The operation was aborted', { cause: signal.reason });
  error.name = 'AbortError';
  return withCode(error, 'ABORT_ERR');
}

function addonError(message: string, cause?: unknown): FdPasserError {
  return new FdPasserError('ERR_FDPASSER_ADDON', message, cause === undefined ? {} : { cause });
}

export function windows(): FdPasserError {
  return addonError(
    'fdpasser does not run on Windows, whose sockets carry no descriptors. It runs on Linux (WSL 2 is one), macOS ' +
      "and FreeBSD. On Windows, send(message, socket) of node:child_process passes TCP sockets and servers to Node's " +
      'own children',
  );
}

export function addonMissing(target: string): FdPasserError {
  return addonError(
    `fdpasser has no native core for ${target}. "npx fdpasser build" compiles the C source that is in the package, ` +
      'with the system\'s C compiler; in a clone, "npm run compile" does',
  );
}

export function bundledAway(): FdPasserError {
  return addonError(
    'fdpasser was bundled into another file, and its native core is not beside that. Mark "fdpasser" as external for ' +
      'the bundler (esbuild: --external:fdpasser; webpack: externals; rollup: external), and ship ' +
      'node_modules/fdpasser with the program',
  );
}

export function addonForbidden(cause: unknown): FdPasserError {
  return addonError(
    'fdpasser needs its native core, and this process may not load it: its permission model needs --allow-addons ' +
      'beside --permission, or it was started with --no-addons',
    cause,
  );
}

/** A core that was found, and why it does not load. */
export interface BrokenCore {
  readonly file: string;
  readonly cause: Error;
}

function reasons(broken: readonly BrokenCore[]): string {
  return broken.map(({ file, cause }) => `${cause.message} (${file})`).join('; ');
}

/** The warning if a core does not load, but a later one does. */
export function coreSkipped(broken: readonly BrokenCore[], instead: string): string {
  return (
    `A native core of fdpasser does not load here: ${reasons(broken)}. ${instead} is used instead. Remove the broken ` +
    'one, or build it again with "npx fdpasser build"'
  );
}

export function addonBroken(broken: readonly BrokenCore[]): FdPasserError {
  return addonError(
    `fdpasser's native core does not load here: ${reasons(broken)}. "npx fdpasser build" compiles one for this ` +
      'system, with its C compiler; in a clone, "npm run compile" does. If a file is cut short, installing the ' +
      'package again helps too',
    broken[0]?.cause,
  );
}

export function noSuchPoller(value: string, why: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_POLLER',
    `The environment variable FDPASSER_POLLER is '${value}', but ${why}. Leave it unset: then the runtime decides`,
  );
}

/** `what` begins the first sentence, and `instead` is the second one. */
export function notHere(what: string, runtime: string, instead: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_RUNTIME',
    `${what} does not work in ${runtime}, which lacks something that it needs. ${instead}`,
  );
}

export function pollerFailed(errno: number): Error {
  return errno === -constants.errno.EAGAIN
    ? systemError(errno, 'pthread_create', { advice: 'fdpasser needs a thread: is the limit of processes too low?' })
    : systemError(errno, 'epoll_create1', { advice: 'fdpasser needs a descriptor to watch others with' });
}

/** The error for calls of what is closed. `reason` ends the sentence "… is closed: …". */
export function closed(what: string, reason: string, cause?: Error): FdPasserError {
  return new FdPasserError('ERR_FDPASSER_CLOSED', `This ${what} is closed: ${reason}`, cause ? { cause } : {});
}

export function plainData(bytes: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_PROTOCOL',
    `The peer sent ${bytes} bytes without a descriptor, and on this wire every message carries one. ` +
      'Is the program at the other end a descriptor passer?',
  );
}

export function denied(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_DENIED',
    "The peer sent a descriptor that this system's security policy (SELinux, AppArmor, …) keeps from this process, " +
      'though there is room for it. Waiting does not help: change the policy, whose log names the file, or do not ' +
      'send it here',
  );
}

/** `what` ends the sentence "The peer broke the protocol: …". */
export function protocolBroken(what: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_PROTOCOL',
    `The peer broke the protocol: ${what}. Both ends of a channel must be FdChannels or speak FDP1 (docs/protocol.md)`,
  );
}

export function noHello(milliseconds: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_HELLO',
    `The peer sent no hello within ${milliseconds} ms (helloTimeout). Is there a channel at the other end?`,
  );
}

export function unreadable(codec: string, cause: Error): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_UNREADABLE',
    `A message from the peer is not valid for the codec '${codec}': ${cause.message}. It was passed over, and its ` +
      'descriptors were closed. The channel goes on',
    { cause },
  );
}

export function codecsDiffer(ours: string, theirs: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_CODEC',
    `This end of the channel has the codec '${ours}' and the other '${theirs}': give both the same`,
  );
}

export function detached(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_DETACHED',
    'The bytes are gone: their buffer was transferred (postMessage, structuredClone) or made shorter before ' +
      'they were sent. Send a copy, or transfer it when the send is done',
  );
}

export function tooLarge(what: string, most: number, option: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_TOO_LARGE',
    `The message has ${what}, and the peer takes at most ${most}: raise ${option} there, or send less at a time`,
  );
}

export function noRequests(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NO_REQUESTS',
    'The peer takes no requests: it is an older fdpasser, or another program whose FDP1 has none. Use send() and ' +
      'receive(), or bring the peer up to date',
  );
}

export function noReply(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NO_REPLY',
    'The peer has dropped the request without a reply: it disposed of the message, lost it, or could not read it',
  );
}

export function noReplyWithin(milliseconds: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_TIMEOUT',
    `There was no reply within ${milliseconds} ms (timeout). The peer may still have the request, and act on it`,
  );
}

/** `why` ends the sentence "This message …". */
export function notAsked(why: string): FdPasserError {
  return new FdPasserError('ERR_FDPASSER_NOT_ASKED', `There is no reply to give: this message ${why}`);
}

/** The error for a number that is not open. */
export function notOpenNumber(errno: number, fd: number): NodeJS.ErrnoException {
  return systemError(errno, 'fcntl', { advice: `Descriptor ${fd} is not open` });
}

export function tooMuchUnread(bytes: number, most: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_TOO_LARGE',
    `${bytes} bytes of the message's sockets were read already, and a message carries at most ${most}: consume them, ` +
      'or send the sockets one by one',
  );
}

export function ownedAlready(fd: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_OWNED',
    `Descriptor ${fd} already has an owner in this process, and two would close it twice. Pass that OwnedFd itself, ` +
      'or take() the number out of it, or send with keepOpen',
  );
}

export function notOwned(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NOT_OWNED',
    'This OwnedFd has no descriptor any more: it was closed, taken out, or handed to a passer. dup() it before, or ' +
      'send with keepOpen, to go on using it',
  );
}

export function noData(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NO_DATA',
    'An OwnedFd is no data, so JSON cannot express it. Send it over an FdPasser, or beside a value over an FdChannel',
  );
}

export function lentOut(fd: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_LENT',
    `Descriptor ${fd} waits to be sent with keepOpen, and its number must not change hands before that. ` +
      'Await the send first, or take() a dup()',
  );
}

/** Whether an object that is no OwnedFd of this copy of the library is one of another copy. */
export function isOfAnotherCopy(value: unknown): value is object {
  return (value as object | null)?.constructor?.name === 'OwnedFd';
}

export function managedElsewhere(value: object): FdPasserError {
  if (isOfAnotherCopy(value))
    return new FdPasserError(
      'ERR_FDPASSER_MANAGED',
      'This OwnedFd belongs to another copy of fdpasser, and only that can close it: pass what its take() returns, ' +
        'or send it with keepOpen. "npm ls fdpasser" shows how many copies there are',
    );
  return new FdPasserError(
    'ERR_FDPASSER_MANAGED',
    `The descriptor belongs to ${shown(value)}, which will close it by itself. Send it with keepOpen, and close the ` +
      'object afterwards. A passer, stream or channel needs a descriptor of its own: that of an accepted connection, ' +
      'say',
  );
}

export function notOpen(object: object): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NOT_OPEN',
    `There is no descriptor in ${shown(object)}: it is not open yet, is closed, or is connecting; or, in a cluster, ` +
      'the primary has it. Send it while it is open',
  );
}

export function queuedAlready(object: object): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NOT_OWNED',
    `The descriptor of ${shown(object)} waits to be sent already, and will be closed here after that. To send it ` +
      'several times, use keepOpen for all sends but the last',
  );
}

export function departed(object: object): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NOT_OWNED',
    `The descriptor of ${shown(object)} has gone to another process, and this was written after its message had ` +
      'departed. Write before it is sent, or there',
  );
}

export function tlsSocket(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_TLS',
    "A TLS connection cannot change processes: its keys and state are in this one's memory. Pass the TCP socket " +
      'before TLS begins, and begin it in the other process',
  );
}

export function unreadBytes(bytes: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_UNREAD',
    `${bytes} bytes were read from this socket already and not consumed, and this wire does not carry them: the ` +
      'receiver would miss them. Send it over an FdChannel, which does, or consume them first',
  );
}

export function unreadHere(bytes: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_UNREAD',
    `The sender of this socket had read ${bytes} bytes from it, and they would be missing here. Read them from the ` +
      "OwnedFd's unread, and then pass what its take() returns",
  );
}

export function unreadText(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_UNREAD',
    'This socket holds text that was not consumed, and not all text that setEncoding() made can be turned back into ' +
      'the bytes received. Consume it first, or send the socket before setEncoding()',
  );
}

export function readAhead(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_UNREAD',
    "This ReadStream reads ahead, which moves the file's position: the receiver shares it and would miss what was " +
      'read. Send it before reading, or create it with start, so that it leaves the position alone',
  );
}

export function httpBusy(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_HTTP_BUSY',
    'This HTTP connection is in the middle of a request or response, which only this process knows. Send it when the ' +
      "response has emitted 'finish' and before the next request, or when its agent has emitted 'free'. A connection " +
      'of HTTP/2 cannot be sent',
  );
}

export function wrongKind(method: string, wanted: string, found: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_WRONG_KIND',
    `${method}() is for ${wanted}, and this descriptor is ${found}. It is still yours: its kind and listening tell ` +
      'what it is',
  );
}

export function closedBehind(fd: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_CLOSED_BEHIND',
    `Descriptor ${fd} was closed by someone who did not own it: its number was no longer open when its owner closed ` +
      'it. If the number had been in use again, another file would have been closed. Close descriptors only through ' +
      'their OwnedFd',
  );
}

export function notAPair(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NOT_A_PAIR',
    'This passer has no two ends to choose from. iAmParent(), iAmChild() and peer are for a passer made without fh ' +
      'or with two, and each side is chosen once',
  );
}

export function sideChosen(method: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_NOT_A_PAIR',
    `This passer has no peer any more: ${method}() closed one end and kept the other. Name peer in spawn's stdio ` +
      'before that. A passer that is to have several children needs a pair for each',
  );
}

/** The warning for what waits on a pair. `what` begins the sentence, as `'2 descriptors wait to be sent'`. */
export function sideNotChosen(what: string): string {
  return (
    `${what} on an FdPasser that has both ends of a pair, and nothing is sent or received before a side is chosen: ` +
    'call iAmParent() right after the child was started with peer, or iAmChild(). A spawned child has no pair: it ' +
    'calls FdPasser.inherit()'
  );
}

export function timedOut(syscall: string, path: string, milliseconds: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_TIMEOUT',
    `${syscall} '${path.replaceAll('\0', '@')}' took more than ${milliseconds} ms: the listener's backlog stayed full`,
  );
}

export function notPeeked(milliseconds: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_TIMEOUT',
    `No byte came in ${milliseconds} ms: the connection is open, and its other end says nothing`,
  );
}

export function workerFailed(
  slot: number,
  { code, signal }: { code: number | null; signal: string | null },
  what = 'did not get ready',
): Error {
  const byItself = code === null ? 'could not be started' : `ended with code ${code}`;
  const how = signal === null ? byItself : `was ended by ${signal}`;
  const advice = 'Its standard error may say why; a worker must call ready() within the patience of its supervisor';
  return workerError(`Worker ${slot} ${what}: it ${how}. ${advice}`);
}

export function workerLate(slot: number, patience: number, register: boolean): Error {
  const advice = register
    ? 'Its program must listen'
    : 'It must call worker().ready(); a program that knows nothing of workers needs register: true';
  return workerError(`Worker ${slot} was not ready within ${patience} ms (patience), and was killed. ${advice}`);
}

export function notAWorker(): Error {
  return workerError('worker() is for a process that supervise() has started, and this is none');
}

export function supervisesItself(): Error {
  return workerError('A worker called supervise() with its own file: that would never end');
}

/** `listener` is the name of the one whose connection came. Without it, the worker serves none at all. */
export function servesNothing(listener?: string): Error {
  return workerError(
    listener === undefined
      ? 'ready() comes after serve(server): this worker serves nothing yet'
      : `A connection of '${listener}' came, which this worker serves by no server: it was closed. Call serve(server)`,
  );
}

export function unserved(listener: string): Error {
  return workerError(
    `No worker serves '${listener}', so its clients wait: call serve(server), or serve(server, { listener }) with this ` +
      'name. Under register a worker serves what its program listens on',
  );
}

function workerError(message: string): FdPasserError {
  return new FdPasserError('ERR_FDPASSER_WORKER', message);
}

/** `wanted` ends the sentence "… must be …". */
export function badEnvironment(name: string, value: string, wanted: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_ENVIRONMENT',
    `The environment variable ${name} is '${value}', but must be ${wanted}. It was set by whoever started this process`,
  );
}

export function badInheritance(value: string): FdPasserError {
  return badEnvironment('FDPASSER_FD', value, 'the number of the descriptor that the parent gave');
}

export function noBarrier(milliseconds: number): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_TIMEOUT',
    `The service manager did not handle everything it was sent within ${milliseconds} ms: it is busy, or does not ` +
      'know BARRIER=1',
  );
}

/** A takeover that failed or was taken back. It tells at which step, and which process is at the other end. */
export class TakeoverError extends FdPasserError {
  /** The message of the protocol (docs/takeover.md) that was expected: `'MANIFEST'`, say. */
  readonly step: string;
  /** The process at the other end, if it is known. */
  readonly pid: number | undefined;

  constructor(code: FdPasserErrorCode, step: string, pid: number | undefined, message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.name = 'TakeoverError';
    this.step = step;
    this.pid = pid;
  }
}

function processOf(pid: number | undefined): string {
  return pid === undefined ? 'the process there' : `process ${pid}`;
}

export function takeoverBusy(path: string, pid: number | undefined): TakeoverError {
  return new TakeoverError(
    'ERR_FDPASSER_BUSY',
    'HELLO',
    pid,
    `Somebody else takes over at '${path.replaceAll('\0', '@')}' already: ${processOf(pid)}. Only one can do so at a ` +
      'time: end this process, and try again when that one serves for good, after its probation, or has given up',
  );
}

export function stepTimedOut(step: string, pid: number | undefined, milliseconds: number): TakeoverError {
  return new TakeoverError(
    'ERR_FDPASSER_STEP_TIMEOUT',
    step,
    pid,
    `${step}: ${processOf(pid)} did not do its part of the takeover within ${milliseconds} ms. Is it stopped, or ` +
      'busy? stepTimeout and initTimeout say how long it may take; patience, in the new process, kills an old one ' +
      'that is stuck',
  );
}

export function takeoverPeerGone(step: string, pid: number | undefined, cause?: Error): TakeoverError {
  const why = cause === undefined ? '' : ` (${cause.message})`;
  return new TakeoverError(
    'ERR_FDPASSER_GONE',
    step,
    pid,
    `${step}: ${processOf(pid)} ended, or closed the connection, before the takeover was done${why}. Look at what it ` +
      `wrote last${cause === undefined ? '; its allow may also refuse this user' : ''}`,
    cause === undefined ? {} : { cause },
  );
}

/**
 * In the old process: the new one has given up. In the new process: the old one has taken it back, and serves again.
 */
export function takenBack(step: string, pid: number | undefined, reason: string): TakeoverError {
  return new TakeoverError(
    'ERR_FDPASSER_ROLLED_BACK',
    step,
    pid,
    `${step}: ${processOf(pid)} took the takeover back: ${reason}. The old process serves, and the new one leaves`,
  );
}

export function takeoverProtocol(step: string, pid: number | undefined, what: string): TakeoverError {
  return new TakeoverError(
    'ERR_FDPASSER_PROTOCOL',
    step,
    pid,
    `${step}: ${processOf(pid)} does not speak the takeover protocol of this version: ${what} (docs/takeover.md)`,
  );
}

/** `what` begins the sentence "… is not possible while …". */
export function wrongState(what: string, state: string): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_STATE',
    `${what} is not possible now: this process is in the state '${state}' (serving.state)`,
  );
}

export function noTakeoverInCluster(): FdPasserError {
  return new FdPasserError(
    'ERR_FDPASSER_CLUSTER',
    'A worker of node:cluster can neither take over nor listen here: its primary has the listeners. Run the program ' +
      "without node:cluster, with 'fdpasser exec --workers N' or supervise() of 'fdpasser/workers'",
  );
}
