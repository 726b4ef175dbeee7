/** The errors of a link's system calls. */
import { constants } from 'node:os';
import { systemError } from '../errors.js';

const { EBADF, ECONNREFUSED, ECONNRESET, EINVAL, EMSGSIZE, ENOTCONN, EPERM, EPIPE } = constants.errno;

/** The errors of a socket whose peer has closed it. */
export const PEER_GONE: ReadonlySet<number> = new Set([EPIPE, ECONNRESET, ECONNREFUSED, ENOTCONN]);

const GONE = 'The peer has closed its end, or has gone';

const ADVICE: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  sendmsg: {
    [EBADF]: 'A descriptor was closed before it was sent: leave it open until then',
    [EINVAL]: 'The kernel does not pass a descriptor of this kind (an io_uring, say)',
    [EMSGSIZE]: 'The message is too long for this socket',
    [EPERM]: 'The peer refuses descriptors (SO_PASSRIGHTS), or a rule of this system forbids sending them',
    [EPIPE]: GONE,
    [ECONNRESET]: GONE,
    [ECONNREFUSED]: GONE,
    [ENOTCONN]: GONE,
  },
  recvmsg: {
    [EBADF]: 'Something else has closed the socket',
    [EMSGSIZE]: 'The peer sent a longer message than is taken here',
    [ECONNRESET]: `${GONE}, and had not read everything that was sent to it`,
    [ECONNREFUSED]: GONE,
  },
};

/** The error of a link's system call. If the cause is known, the message says it, or what to do about it. */
export function linkError(result: number, syscall: 'sendmsg' | 'recvmsg'): NodeJS.ErrnoException {
  const advice = ADVICE[syscall]![-result];
  return systemError(result, syscall, advice === undefined ? {} : { advice });
}
