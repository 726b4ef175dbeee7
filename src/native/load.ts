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
 * Where this code is. A bundler may have left nothing there; looking for files by a name of its own, it would copy
 * them.
 */
const here = import.meta.url as string | undefined;

/** The first that loads of those that are here. */
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

/** Whether this code is in a file of somebody else's, so that what belongs to it is not beside it. */
function isBundled(): boolean {
  try {
    const { name } = JSON.parse(readFileSync(beside('package.json'), 'utf8')) as { name?: unknown };
    return name !== 'fdpasser';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

/** The path of a file of the package, from either of the folders that hold this code. */
function beside(name: string): string {
  return fileURLToPath(new URL(`../../${name}`, here));
}

/** As `require` does, which takes eight times as long in Node. */
function open(file: string): Addon {
  checkLength(file);
  if (runtime !== 'node') return builtin.module.createRequire(here!)(file) as Addon;
  const module = { exports: {} as Addon };
  process.dlopen(module, file);
  return module.exports;
}

/** What `npx fdpasser build` made, or a build of a clone: whoever compiled one wants that. Then the package's. */
function* candidates(): Generator<string> {
  for (const folder of [`build/${process.platform}-${process.arch}`, `prebuilds/${target()}`]) {
    const file = beside(`${folder}/fdpasser.node`);
    if (existsSync(file)) yield file;
  }
}

/**
 * Throws when a file of ELF is shorter than it says. The system's loader would map what is not there, and the process
 * would die of SIGBUS. Linkers put the table of sections last.
 */
function checkLength(file: string): void {
  const header = beginning(file);
  if (header.length < 64 || header.toString('latin1', 0, 4) !== '\x7fELF') return; // the loader says what is wrong
  const view = new DataView(header.buffer, header.byteOffset);
  const wide = header[4] === 2;
  const little = header[5] === 1;
  const table = wide ? Number(view.getBigUint64(40, little)) : view.getUint32(32, little);
  const [size, count] = wide ? [58, 60] : [46, 48];
  const whole = table + view.getUint16(size, little) * view.getUint16(count, little);
  const { size: is } = statSync(file);
  if (is < whole) throw new Error(`the file is cut short, at ${is} of its ${whole} bytes`);
}

/** Cores differ by system, processor and, on Linux, C library. */
function target(): string {
  const { platform, arch } = process;
  return platform === 'linux' ? `linux-${arch}-${libc()}` : `${platform}-${arch}`;
}

/**
 * The C library of this process. Its program file names the loader that belongs to it near the beginning; reading that
 * takes a fraction of a millisecond. Where it cannot be read, or tells nothing, Node's report does, in some.
 */
function libc(): 'glibc' | 'musl' {
  const loader = /\/ld-(linux|musl)-/.exec(beginning(process.execPath).toString('latin1'))?.[1];
  if (loader !== undefined) return loader === 'musl' ? 'musl' : 'glibc';
  const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return report.header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

/** Empty where it cannot be read. */
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
    return Buffer.alloc(0); // the permission model may forbid it
  }
}

/** The C core. Each thread has its own instance. */
export const addon: Addon = load();

const deliver = (): void => addon.deliver();

/**
 * Node and Bun call again, without letting the loop turn, as long as the poller's thread has something new. Deno lets
 * it turn, and its `setImmediate` is slow.
 */
const woken = runtime === 'deno' ? deliver : (): void => void setImmediate(deliver);

const started = addon.usePoller(choosePoller() === 'thread', woken);
if (started < 0) throw pollerFailed(started);

const ints = new Int32Array(addon.batch);

/** The thread's `struct fdp_batch`, field by field. Whoever calls the addon fills or reads it at once. */
export const batch = {
  tail: ints.subarray(0, 1),
  size: ints.subarray(1, 1 + MAX_MESSAGES),
  count: ints.subarray(1 + MAX_MESSAGES, 1 + 2 * MAX_MESSAGES),
  fd: ints.subarray(1 + 2 * MAX_MESSAGES),
} as const;
