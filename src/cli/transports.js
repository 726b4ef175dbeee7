/** The transports: which files of native/transport/ carry descriptors. Only this file chooses between them. */

const SOCKETS = ['endpoint', 'options', 'socket'];
const ONE_BY_ONE = ['look', 'one-by-one', 'reserve'];

export const TRANSPORTS = {
  /** Control messages, which are peeked at first. */
  linux: { files: ['control', 'linux', ...SOCKETS], flags: ['-DFDP_PEEK=1'] },
  /** Control messages on systems that cannot peek at descriptors. */
  rights: { files: ['control', 'rights', ...ONE_BY_ONE, ...SOCKETS], flags: [] },
  /** The same on systems where a socket in flight must stay open. */
  holding: { files: ['control', 'hold', 'rights', ...ONE_BY_ONE, ...SOCKETS], flags: ['-DFDP_HOLD=1'] },
  /** Numbers beside the bytes. */
  accrights: { files: ['accrights', ...ONE_BY_ONE, ...SOCKETS], flags: ['-DFDP_BSD43'] },
  /** A STREAMS pipe. */
  streams: { files: ['one-by-one', 'streams'], flags: ['-DFDP_SYSV'] },
};

/**
 * The transport for an interface (interface.js) and a platform, as Node names it. `peek`: whether it may peek.
 *
 * @param {string} name
 * @param {string} platform
 * @param {boolean} peek
 */
export function transportOf(name, platform, peek = true) {
  if (name === 'bsd43') return TRANSPORTS.accrights;
  if (name === 'sysv') return TRANSPORTS.streams;
  if (platform === 'darwin') return TRANSPORTS.holding;
  return peek && (platform === 'linux' || platform === 'android') ? TRANSPORTS.linux : TRANSPORTS.rights;
}
