/** A system call of the core, and one way in which it fails. */
export interface Injection {
  call: string;
  /** The name of an errno, or `'short'`: the call takes one of several messages. */
  errno: string;
  times: 'once' | 'three times' | 'until it relents';
  /** Which of the calls is the first to fail. */
  first: number;
}

/** The outcome of an injection. */
export interface Outcome extends Injection {
  /** The use of the core. */
  use: string;
  hits: number;
  /** In a few words; `E` stands for the errno. */
  outcome: string;
}

/** What a child must try. */
export interface Order {
  use: string;
  injections: Injection[];
}

/** The expected outcomes of failures of one call: outcome to errnos. ` or ` separates outcomes that are both right. */
export interface Row {
  uses: readonly string[];
  call: string;
  outcomes: Record<string, string>;
  /** Outcomes that are also right when a later call fails than the first. */
  later?: Record<string, string>;
}

/**
 * Whether the core peeks. One built with `FDPASSER_PEEK=off` peeks only at bytes, then receives one message at a time.
 */
export const PEEKS = process.env['FDPASSER_PEEK'] !== 'off';

/** The core's calls to send, to peek at what is there, to take it, and to find out only whether something is there. */
export const SEND = PEEKS ? 'sendmmsg' : 'sendmsg';
export const LOOK = PEEKS ? 'recvmmsg MSG_PEEK' : 'recvmsg MSG_PEEK';
export const TAKE = PEEKS ? 'recvmmsg' : 'recvmsg';
export const TELL = PEEKS ? 'recv' : LOOK;

const PASSERS = ['FdPasser stream', 'FdPasser seqpacket', 'FdPasser dgram', 'FdPasser batch'];
const LATE = ['FdPasser stream, asked late', 'FdPasser seqpacket, asked late'];
const CHANNELS = ['FdChannel stream', 'FdChannel seqpacket'];
/** Uses that find the end of a packet socket before they close it. */
const PACKETS_TO_THE_END = ['FdPasser seqpacket'];
const WIRES = [...PASSERS, ...LATE, 'FdStream', ...CHANNELS];

const ARRIVES = 'all arrives';
const ENDS = 'all arrives, ends: E recvmsg';
/** The end of the peer may be checked in this case, and is then reported. */
const ARRIVES_AND_TELLS = `${ARRIVES} or ${ENDS}`;
const WAITS = 'exhausted, resumed, all arrives';
const CANNOT_SEND = 'breaks: E sendmsg';
const CANNOT_RECEIVE = 'breaks: E recvmsg';
const REFUSES = 'all arrives or refuses some: E sendmsg, all else arrives';
const WORKS = 'works';

/** Errors that end the connection, or this call, for good. */
const SEND_FATAL = 'EACCES EALREADY EDESTADDRREQ EFAULT EISCONN ENFILE ENOTSOCK EOPNOTSUPP';
/** Errors of one message alone. */
const SEND_REFUSED = 'EBADF EINVAL EMSGSIZE EPERM';
/** The kernel's errors for a peer that has gone. */
const PEER_GONE = 'ECONNREFUSED ECONNRESET ENOTCONN EPIPE';
const RECEIVE_FATAL = 'EBADF ECONNREFUSED EFAULT EINVAL EIO ENOTCONN ENOTSOCK';
/** The short call, which only calls for several messages have. */
const SHORT = PEEKS ? ' short' : '';
/** Where messages go one by one, an error ends a call that has already sent some, and may not come again. */
const SENT_LATER: Record<string, string> = PEEKS ? {} : { [ARRIVES]: `${SEND_REFUSED} ${SEND_FATAL} ${PEER_GONE}` };
const RECEIVING = {
  [ARRIVES]: `EINTR EAGAIN ENOBUFS ENOMEM${SHORT}`,
  [WAITS]: 'EMFILE ENFILE',
  [ARRIVES_AND_TELLS]: 'ECONNRESET',
  [CANNOT_RECEIVE]: RECEIVE_FATAL,
};
const OPTION = 'EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK';
const SOCKET = 'EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM EPROTONOSUPPORT';

function ifPeeking(row: Row): Row[] {
  return PEEKS ? [row] : [];
}

function unlessPeeking(row: Row): Row[] {
  return PEEKS ? [] : [row];
}

/**
 * Every system call of the core, and every errno that its manual names: sendmmsg(2), send(2), recvmmsg(2), recv(2),
 * unix(7) and so on. Errors that only the kernel's source shows are there too.
 */
export const TABLE: readonly Row[] = [
  {
    uses: [...PASSERS, ...LATE],
    call: SEND,
    outcomes: {
      [ARRIVES]: `EINTR EAGAIN ENOBUFS ENOMEM ETOOMANYREFS${SHORT}`,
      [REFUSES]: SEND_REFUSED,
      [CANNOT_SEND]: `${SEND_FATAL} ${PEER_GONE}`,
    },
    later: SENT_LATER,
  },
  {
    uses: ['FdStream'],
    call: SEND,
    outcomes: {
      [ARRIVES]: `EINTR EAGAIN ENOBUFS ENOMEM ETOOMANYREFS${SHORT}`,
      [CANNOT_SEND]: `${SEND_REFUSED} ${SEND_FATAL} ${PEER_GONE}`,
    },
    later: SENT_LATER,
  },
  {
    uses: CHANNELS,
    call: SEND,
    outcomes: {
      [ARRIVES]: `EINTR EAGAIN ENOBUFS ENOMEM ETOOMANYREFS${SHORT}`,
      // The first call sends the hello, without which there is no channel.
      [CANNOT_SEND]: `${SEND_REFUSED} ${SEND_FATAL} ${PEER_GONE}`,
    },
    // A later call may carry only a confirmation, which a peer that has gone does not need.
    later: { ...SENT_LATER, [REFUSES]: SEND_REFUSED, ends: PEER_GONE },
  },
  {
    uses: [
      'FdPasser, when something has come',
      'FdStream, when something has come',
      'FdChannel, when a confirmation has come',
    ],
    call: SEND,
    outcomes: { 'throws E sendmsg': `${SEND_FATAL} ${PEER_GONE}` },
  },
  // At a later peek all may have arrived, so that only the end of the peer is left.
  {
    uses: WIRES.filter((use) => LOOK !== TELL || !LATE.includes(use)),
    call: LOOK,
    // Where several messages cannot be peeked at, the core peeks at one.
    outcomes: PEEKS
      ? {
          ...RECEIVING,
          [ARRIVES]: `${RECEIVING[ARRIVES]} EINVAL`,
          [CANNOT_RECEIVE]: RECEIVE_FATAL.replace(' EINVAL', ''),
        }
      : RECEIVING,
    later: { [ENDS]: RECEIVE_FATAL },
  },
  ...ifPeeking({ uses: WIRES, call: TAKE, outcomes: RECEIVING }),
  // A call that reports a full table here has already destroyed descriptors.
  ...unlessPeeking({
    uses: WIRES,
    call: TAKE,
    outcomes: { ...RECEIVING, [WAITS]: 'ENFILE', 'breaks: EIO recvmsg': 'EMFILE EMSGSIZE' },
    later: { [ENDS]: RECEIVE_FATAL, 'all arrives, ends: EIO recvmsg': 'EMFILE EMSGSIZE' },
  }),
  {
    uses: LATE,
    call: TELL,
    outcomes: {
      [ARRIVES]: 'EINTR EAGAIN ENOBUFS ENOMEM',
      // The kernel reports this once. When it is repeated, it is an error like the others.
      [`${ARRIVES_AND_TELLS} or ${CANNOT_RECEIVE}`]: 'ECONNRESET',
      [CANNOT_RECEIVE]: 'EBADF ECONNREFUSED EFAULT EINVAL ENOTCONN ENOTSOCK',
    },
    // A later check may be the one that finds the end.
    later: { [ENDS]: 'EBADF ECONNREFUSED EFAULT EINVAL ENOTCONN ENOTSOCK' },
  },
  {
    // Only a possible end of packets is examined: by then all has arrived.
    uses: ['FdPasser seqpacket, asked late'],
    call: 'poll',
    outcomes: { [ARRIVES]: 'EINTR ENOMEM', [ENDS]: 'EFAULT EINVAL' },
  },
  ...['getsockopt SO_DOMAIN', 'getsockopt SO_TYPE'].map((call) => ({
    uses: WIRES,
    call,
    outcomes: { 'throws E getsockopt': OPTION },
  })),
  {
    // Anything but a socket does not listen. The core has already checked that it is a socket.
    uses: WIRES,
    call: 'getsockopt SO_ACCEPTCONN',
    outcomes: { [ARRIVES]: 'ENOTSOCK', 'throws E getsockopt': 'EBADF EFAULT EINVAL ENOPROTOOPT' },
  },
  ...ifPeeking({
    uses: WIRES,
    call: 'setsockopt SO_PEEK_OFF',
    outcomes: { [ARRIVES]: 'EINTR', 'throws E setsockopt': 'EBADF EFAULT EINVAL ENOTSOCK ENOMEM' },
  }),
  { uses: WIRES, call: 'setsockopt SO_PASS', outcomes: { [ARRIVES]: OPTION } },
  // The first call asks for the old offset, and need not succeed.
  ...ifPeeking({
    uses: LATE,
    call: 'getsockopt SO_PEEK_OFF',
    outcomes: { [`${ARRIVES} or ${CANNOT_RECEIVE}`]: OPTION },
  }),
  {
    uses: WIRES,
    call: 'epoll_ctl',
    outcomes: { 'throws E epoll_ctl': 'EBADF EINVAL ELOOP ENOENT ENOMEM ENOSPC EPERM' },
  },
  { uses: WIRES, call: 'fcntl F_SETFD', outcomes: { 'throws E fcntl': 'EBADF' } },
  { uses: WIRES, call: 'fcntl F_GETFL', outcomes: { 'throws E fcntl or all arrives': 'EBADF' } },
  { uses: WIRES, call: 'fcntl F_SETFL', outcomes: { 'throws E fcntl or all arrives': 'EBADF EPERM' } },
  {
    uses: ['FdStream'],
    call: 'shutdown',
    outcomes: { [ARRIVES]: 'ENOTCONN', 'all arrives, ends: E shutdown': 'EBADF EINVAL ENOTSOCK' },
  },
  // Linux has closed the descriptor all the same (close(2)). If it were closed again, the number could belong to
  // another file.
  { uses: WIRES, call: 'close', outcomes: { [ARRIVES]: 'EINTR EIO ENOSPC EDQUOT' } },
  // Asks whether a close might be slow. Without an answer, a thread closes.
  {
    uses: PACKETS_TO_THE_END,
    call: 'open',
    outcomes: { [ARRIVES]: 'EACCES EINTR ELOOP EMFILE ENAMETOOLONG ENFILE ENOENT ENOMEM ENOTDIR EPERM' },
  },
  { uses: PACKETS_TO_THE_END, call: 'read', outcomes: { [ARRIVES]: 'EAGAIN EBADF EFAULT EINTR EINVAL EIO' } },
  {
    uses: ['OwnedFd.close'],
    call: 'close',
    outcomes: { [WORKS]: 'EINTR EIO ENOSPC EDQUOT', 'throws ERR_FDPASSER_CLOSED_BEHIND': 'EBADF' },
  },
  {
    uses: ['socketpair', 'new FdPasser'],
    call: 'socketpair',
    outcomes: {
      'throws E socketpair': 'EAFNOSUPPORT EFAULT EMFILE ENFILE ENOBUFS ENOMEM EOPNOTSUPP EPROTONOSUPPORT',
    },
  },
  { uses: ['new FdPasser'], call: 'getsockopt SO_DOMAIN', outcomes: { 'throws E getsockopt': OPTION } },
  { uses: ['new FdPasser'], call: 'fcntl F_SETFD', outcomes: { 'throws E fcntl': 'EBADF' } },
  {
    uses: ['listen', 'listen, where a dead socket is'],
    call: 'socket',
    outcomes: { 'throws E bind': SOCKET },
  },
  {
    uses: ['listen', 'listen, where a dead socket is'],
    call: 'fchmod',
    outcomes: { [WORKS]: 'EPERM', 'throws E bind': 'EBADF EIO ENOSPC EROFS' },
  },
  {
    uses: ['listen'],
    call: 'bind',
    outcomes: {
      // Nothing is at the path, so a failure to remove it does not matter.
      [WORKS]: 'EINTR EADDRINUSE',
      'throws E bind':
        'EACCES EADDRNOTAVAIL EBADF EDQUOT EFAULT EINVAL EIO ELOOP ENAMETOOLONG ENOENT ENOMEM ENOSPC ENOTDIR ENOTSOCK EROFS',
    },
  },
  {
    uses: ['listen', 'listen, where a dead socket is'],
    call: 'listen',
    outcomes: {
      // As if another process had been faster, but has gone again.
      [WORKS]: 'EADDRINUSE',
      'throws E bind': 'EBADF EINVAL ENOBUFS ENOMEM ENOTSOCK EOPNOTSUPP',
    },
  },
  {
    uses: ['listen', 'listen, where a dead socket is'],
    call: 'chmod',
    outcomes: { [WORKS]: 'EACCES EIO ENOSYS EPERM EROFS' },
  },
  { uses: ['listen'], call: 'epoll_ctl', outcomes: { 'throws E epoll_ctl': 'ENOMEM ENOSPC EPERM' } },
  {
    uses: ['listen, where a dead socket is'],
    call: 'flock',
    outcomes: { [WORKS]: 'EINTR', 'throws EADDRINUSE bind': 'EWOULDBLOCK', 'throws E flock': 'EBADF EINVAL ENOLCK' },
  },
  {
    // The connection that checks whether the socket is dead: only a refusal shows that.
    uses: ['listen, where a dead socket is'],
    call: 'connect',
    outcomes: {
      [WORKS]: 'EINTR ECONNREFUSED',
      'throws EADDRINUSE bind': 'EACCES EAGAIN ENOBUFS ENOMEM EPERM EPROTOTYPE',
    },
  },
  { uses: ['connect'], call: 'socket', outcomes: { 'throws E connect': SOCKET } },
  {
    uses: ['connect'],
    call: 'connect',
    outcomes: {
      [WORKS]: 'EINTR EAGAIN',
      'throws E connect':
        'EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EALREADY EBADF ECONNREFUSED EFAULT EINPROGRESS EISCONN ELOOP ' +
        'ENAMETOOLONG ENETUNREACH ENOBUFS ENOENT ENOMEM ENOTDIR ENOTSOCK EPERM EPROTOTYPE ETIMEDOUT',
    },
  },
  { uses: ['accept'], call: 'fcntl F_GETFL', outcomes: { 'throws E accept': 'EBADF' } },
  {
    uses: ['accept'],
    call: 'accept4',
    outcomes: {
      [WORKS]: 'EINTR EAGAIN ECONNABORTED EMFILE ENFILE ENOBUFS ENOMEM',
      'throws E accept': 'EBADF EFAULT EINVAL ENOTSOCK EOPNOTSUPP EPERM EPROTO',
    },
  },
  {
    uses: ['accept', 'peerCredentials'],
    call: 'getsockopt SO_PEERCRED',
    outcomes: { 'throws E getsockopt': OPTION },
  },
  { uses: ['sendDatagram'], call: 'socket', outcomes: { 'throws E connect': SOCKET } },
  {
    uses: ['sendDatagram'],
    call: 'connect',
    outcomes: { [WORKS]: 'EINTR EAGAIN', 'throws E connect': 'EACCES ECONNREFUSED ENOENT ENOMEM EPROTOTYPE' },
  },
  {
    uses: ['sendDatagram'],
    call: SEND,
    outcomes: {
      [WORKS]: 'EINTR EAGAIN ENOBUFS ENOMEM ETOOMANYREFS',
      'throws E sendmsg': `${SEND_REFUSED} ${SEND_FATAL} ${PEER_GONE}`,
    },
  },
  ...ifPeeking({
    uses: ['sendDatagram'],
    call: 'setsockopt SO_PEEK_OFF',
    outcomes: { 'throws E setsockopt': 'EBADF EFAULT EINVAL ENOTSOCK' },
  }),
  { uses: ['sendDatagram'], call: 'epoll_ctl', outcomes: { 'throws E epoll_ctl': 'ENOMEM ENOSPC EPERM' } },
  {
    uses: ['OwnedFd.kind'],
    call: 'getsockopt SO_DOMAIN',
    outcomes: { 'throws E fstat': OPTION },
  },
  { uses: ['OwnedFd.kind'], call: 'getsockopt SO_TYPE', outcomes: { 'throws E fstat': OPTION } },
  {
    uses: ['OwnedFd.listening'],
    call: 'getsockopt SO_ACCEPTCONN',
    outcomes: { false: 'ENOTSOCK', 'throws E getsockopt': 'EBADF EFAULT EINVAL ENOPROTOOPT' },
  },
  { uses: ['OwnedFd.dup'], call: 'fcntl F_DUPFD', outcomes: { 'throws E fcntl': 'EBADF EINVAL EMFILE' } },
  { uses: ['OwnedFd.toSocket'], call: 'fcntl F_GETFL', outcomes: { 'throws E fcntl': 'EBADF' } },
  {
    uses: ['OwnedFd.toDgram'],
    call: 'getsockopt SO_DOMAIN',
    outcomes: { 'throws E fstat': OPTION },
  },
  { uses: ['growing the table'], call: 'pthread_create', outcomes: { [WORKS]: 'EAGAIN EINVAL EPERM' } },
  { uses: ['growing the table'], call: 'getrlimit', outcomes: { [WORKS]: 'EFAULT EINVAL EPERM' } },
  {
    uses: ['growing the table'],
    call: 'fcntl F_DUPFD (thread)',
    outcomes: { [WORKS]: 'EBADF EINVAL EMFILE ENOMEM' },
  },
  { uses: ['growing the table'], call: 'close (thread)', outcomes: { [WORKS]: 'EINTR EIO' } },
  // Last, because the process then takes the option for missing, and receives one by one.
  { uses: WIRES, call: 'setsockopt SO_PEEK_OFF', outcomes: { [ARRIVES]: 'ENOPROTOOPT' } },
  { uses: ['sendDatagram'], call: 'setsockopt SO_PEEK_OFF', outcomes: { [WORKS]: 'ENOPROTOOPT' } },
];

/**
 * The core's calls without a row: one that undoes a failed call, one that asks whether a close might wait, those with
 * which a poller's thread begins and waits, and those that replace calls that a sandbox refuses or an old kernel lacks.
 * Where streams are not peeked at, `recv` looks into TCP connections alone, and has no row.
 */
export const NOT_INJECTED = [
  'recv',
  'unlink',
  'lstat',
  'getsockname',
  'ioctl',
  'epoll_create1',
  'epoll_wait',
  'syscall',
  'sendmsg',
  'recvmsg',
  'accept',
  'dup2',
  'fstat',
  'unshare',
];
