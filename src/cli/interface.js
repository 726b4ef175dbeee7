/**
 * Finds in the system's headers which interface can carry descriptors. FDPASSER_INTERFACE, one of the names here,
 * overrides the result.
 */
import { spawnSync } from 'node:child_process';

const BSD44 = `
  #include <sys/types.h>
  #include <sys/socket.h>
  char room[CMSG_SPACE(sizeof(int))];
  int main(void) { struct msghdr m = {0}; m.msg_control = room; m.msg_flags = SCM_RIGHTS; return m.msg_flags; }`;
const BSD43 = `
  #include <sys/types.h>
  #include <sys/socket.h>
  int main(void) { struct msghdr m = {0}; m.msg_accrights = 0; return m.msg_accrightslen; }`;
const SYSV = `
  #include <stropts.h>
  int main(void) { struct strrecvfd r; return isastream(0) + ioctl(0, I_RECVFD, &r) + ioctl(0, I_SENDFD, 1) + fattach(0, ""); }`;

/** In the order of preference. Each is tried with its sets of flags; the first that compiles is taken. */
const INTERFACES = [
  {
    name: 'bsd44',
    program: BSD44,
    // illumos and AIX declare msg_control only for X/Open.
    flags: [[], ['-D_XOPEN_SOURCE=600', '-D__EXTENSIONS__'], ['-D_XOPEN_SOURCE=600', '-D_LINUX_SOURCE_COMPAT']],
  },
  { name: 'bsd43', program: BSD43, flags: [[]] },
  { name: 'sysv', program: SYSV, flags: [[]] },
];

const ANY = 'int main(void) { return 0; }';

/** The compiler's complaint; undefined when the program compiles. Throws when the compiler cannot be started. */
function complaint(compiler, program, flags) {
  const options = ['-std=gnu11', '-D_GNU_SOURCE', '-Werror=implicit-function-declaration', '-fsyntax-only', ...flags];
  const [command, ...first] = compiler;
  const all = [...first, ...options, '-x', 'c', '-'];
  const { error, status, signal, stderr } = spawnSync(command, all, { input: program, encoding: 'utf8' });
  // EPIPE: it ended without reading the program.
  if (error && error.code !== 'EPIPE') throw error;
  return status === 0 ? undefined : stderr.trim() || `it ended with ${signal ?? status}, without a message`;
}

/**
 * The interface's name, and the flags to compile the core with for it. `compiler` is a command and its first arguments.
 */
export function findInterface(compiler, wanted = process.env.FDPASSER_INTERFACE) {
  if (wanted !== undefined && !INTERFACES.some(({ name }) => name === wanted))
    throw new Error(`FDPASSER_INTERFACE is "${wanted}", but must be bsd44, bsd43 or sysv`);
  const broken = complaint(compiler, ANY, []);
  if (broken) throw new Error(`${compiler.join(' ')} does not compile even an empty C program: ${broken}`);
  for (const { name, program, flags } of INTERFACES) {
    if (wanted !== undefined && name !== wanted) continue;
    const found = flags.find((each) => complaint(compiler, program, each) === undefined);
    if (found !== undefined) return { name, flags: found };
  }
  throw new Error(
    `This system's headers, as ${compiler.join(' ')} finds them, do not have ${wanted ?? 'a way to pass descriptors'}`,
  );
}
