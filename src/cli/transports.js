/**
 * The files of native/transport/ that carry descriptors, and the names by which they are told: the one choice between
 * them.
 */

const SOCKETS = ['endpoint', 'options', 'socket'];
const ONE_BY_ONE = ['look', 'one-by-one', 'reserve'];

export const TRANSPORTS = {
  /** Control messages, which are looked at first. */
  linux: { files: ['control', 'linux', ...SOCKETS], flags: ['-DFDP_PEEK=1'] },
  /** Control messages where descriptors cannot be looked at. */
  rights: { files: ['control', 'rights', ...ONE_BY_ONE, ...SOCKETS], flags: [] },
  /** The same where a socket in flight must stay open. */
  holding: { files: ['control', 'hold', 'rights', ...ONE_BY_ONE, ...SOCKETS], flags: ['-DFDP_HOLD=1'] },
  /** Numbers beside the bytes. */
  accrights: { files: ['accrights', ...ONE_BY_ONE, ...SOCKETS], flags: ['-DFDP_BSD43'] },
  /** A STREAMS pipe. */
  streams: { files: ['one-by-one', 'streams'], flags: ['-DFDP_SYSV'] },
};

/**
 * The one for an interface (interface.js) of a platform, as Node names it. `peek`: whether it may look first.
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
