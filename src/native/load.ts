import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  addonBroken,
  addonForbidden,
  addonMissing,
  bundledAway,
  coreSkipped,
  pollerFailed,
  windows,
  type BrokenCore,
} from '../errors.js';
import { MAX_MESSAGES, type Addon } from './addon.js';
import { builtin } from '../common/lazy-modules.js';
import { choosePoller } from './poller.js';
import { runtime } from './runtime.js';

/**
 * The URL of this file, or undefined where a bundler has removed it. It is used by this name alone, because bundlers
 * copy the files that they find named beside `import.meta.url`.
 */
const here = import.meta.url as string | undefined;

/** Loads the first core that is here and can be loaded. */
function load(): Addon {
  if (process.platform === 'win32') throw windows();
  if (here === undefined) throw bundledAway();
  const broken: BrokenCore[] = [];
  for (const file of candidates()) {
    try {
      const loaded = open(file);
      if (broken.length > 0) process.emitWarning(coreSkipped(broken, file), 'FdPasserWarning');
      return loaded;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED') throw addonForbidden(cause);
      broken.push({ file, cause: cause as Error });
    }
  }
  if (broken.length > 0) throw addonBroken(broken);
  throw isBundled() ? bundledAway() : addonMissing(target());
}

/** Whether this code was bundled into a file of another package, so that the core is not beside it. */
function isBundled(): boolean {
  try {
    const { name } = JSON.parse(readFileSync(beside('package.json'), 'utf8')) as { name?: unknown };
    return name !== 'fdpasser';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/** The path of a file of the package. Both folders that hold this code are two levels below the package's own. */
function beside(name: string): string {
  return fileURLToPath(new URL(`../../${name}`, here));
}

/** Loads a core. In Node, `process.dlopen` takes an eighth of the time that `require` takes. */
function open(file: string): Addon {
  checkLength(file);
  if (runtime !== 'node') return builtin.module.createRequire(here!)(file) as Addon;
  const module = { exports: {} as Addon };
  process.dlopen(module, file);
  return module.exports;
}

/**
 * The files that may be the core. First comes what `npx fdpasser build` or a build of a clone has made, because whoever
 * compiled a core wants that one. Then comes the one in the package.
 */
function* candidates(): Generator<string> {
  for (const folder of [`build/${process.platform}-${process.arch}`, `prebuilds/${target()}`]) {
    const file = beside(`${folder}/fdpasser.node`);
    if (existsSync(file)) yield file;
  }
}

/**
 * Throws if an ELF file is shorter than its header says. The system's loader would map what is not there, and the
 * process would die of SIGBUS. The table of sections is what linkers put last, so its end is the end of the file.
 */
function checkLength(file: string): void {
  const header = beginning(file);
  // Of any other file the loader itself says what is wrong.
  if (header.length < 64 || header.toString('latin1', 0, 4) !== '\x7fELF') return;
  const view = new DataView(header.buffer, header.byteOffset);
  const wide = header[4] === 2;
  const little = header[5] === 1;
  const table = wide ? Number(view.getBigUint64(40, little)) : view.getUint32(32, little);
  const [size, count] = wide ? [58, 60] : [46, 48];
  const whole = table + view.getUint16(size, little) * view.getUint16(count, little);
  const { size: is } = statSync(file);
  if (is < whole) throw new Error(`the file is cut short, at ${is} of its ${whole} bytes`);
}

/** The folder of the core for this process. There is one for each system, processor and, on Linux, C library. */
function target(): string {
  const { platform, arch } = process;
  return platform === 'linux' ? `linux-${arch}-${libc()}` : `${platform}-${arch}`;
}

/**
 * The C library of this process. The program's file names the matching loader near its beginning, and reading that
 * takes a fraction of a millisecond. If the file cannot be read, or does not name the loader, Node's report is asked,
 * which takes some milliseconds.
 */
function libc(): 'glibc' | 'musl' {
  const loader = /\/ld-(linux|musl)-/.exec(beginning(process.execPath).toString('latin1'))?.[1];
  if (loader !== undefined) return loader === 'musl' ? 'musl' : 'glibc';
  const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return report.header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

/** The first bytes of a file. Empty if it cannot be read. */
function beginning(file: string): Buffer {
  const bytes = Buffer.alloc(4096);
  try {
    const fd = openSync(file, 'r');
    try {
      return bytes.subarray(0, readSync(fd, bytes));
    } finally {
      closeSync(fd);
    }
  } catch {
    return Buffer.alloc(0); // Node's permission model may forbid it.
  }
}

/** The C core. Each thread has its own instance. A copy, because V8 finds names in the original by hashing them. */
export const addon: Addon = { ...load() };

const deliver = (): void => addon.deliver();

/**
 * Node and Bun call a thread's function again and again as long as the thread has something new, and the event loop
 * does not turn. `setImmediate` lets it turn. Deno lets it turn by itself, and its `setImmediate` is slow.
 */
const woken = runtime === 'deno' ? deliver : (): void => void setImmediate(deliver);

const started = addon.usePoller(choosePoller() === 'thread', woken);
if (started < 0) throw pollerFailed(started);

/** How many integers `struct fdp_demand` has. */
const DEMAND = 5;
const demand = new Int32Array(addon.batch, 0, DEMAND);

/** Receives within the limits of `struct fdp_demand`. */
export function receive(
  socket: number,
  bytes: Uint8Array,
  stride: number,
  messages: number,
  descriptors: number,
  expected: number,
  room: number,
): number {
  demand[0] = messages;
  demand[1] = descriptors;
  demand[2] = expected;
  demand[3] = room;
  demand[4] = stride;
  return addon.receive(socket, bytes);
}

const ints = new Int32Array(addon.batch, 4 * DEMAND);

/**
 * The fields of this thread's `struct fdp_batch`. Whoever calls the addon must fill them just before the call, and read
 * them just after it.
 */
export const batch = {
  tail: ints.subarray(0, 1),
  size: ints.subarray(1, 1 + MAX_MESSAGES),
  count: ints.subarray(1 + MAX_MESSAGES, 1 + 2 * MAX_MESSAGES),
  fd: ints.subarray(1 + 2 * MAX_MESSAGES),
} as const;
