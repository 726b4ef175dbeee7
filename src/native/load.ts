import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { addonBroken, addonForbidden, addonMissing, pollerFailed, windows } from '../errors.js';
import { MAX_MESSAGES, type Addon } from './addon.js';
import { builtin } from './builtin.js';
import { choosePoller } from './poller.js';
import { runtime } from './runtime.js';

function load(): Addon {
  if (process.platform === 'win32') throw windows();
  const file = compiledHere() ?? fromThePackage();
  if (file === undefined) throw addonMissing(target());
  try {
    return open(file);
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED'
      ? addonForbidden(cause)
      : addonBroken(file, cause as Error);
  }
}

/** As `require` does, which takes eight times as long in Node. */
function open(file: string): Addon {
  if (runtime !== 'node') return builtin.module.createRequire(import.meta.url)(file) as Addon;
  const module = { exports: {} as Addon };
  process.dlopen(module, file);
  return module.exports;
}

/** What `npx fdpasser build` made, or a build of a clone. Whoever compiled one wants that. */
function compiledHere(): string | undefined {
  return core(`build/${process.platform}-${process.arch}`);
}

/** What scripts/package/prebuild.js made for the package. */
function fromThePackage(): string | undefined {
  return core(`prebuilds/${target()}`);
}

function core(folder: string): string | undefined {
  const file = fileURLToPath(new URL(`../../${folder}/fdpasser.node`, import.meta.url));
  return existsSync(file) ? file : undefined;
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
  const loader = /\/ld-(linux|musl)-/.exec(beginning(process.execPath))?.[1];
  if (loader !== undefined) return loader === 'musl' ? 'musl' : 'glibc';
  const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return report.header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

function beginning(file: string): string {
  const bytes = Buffer.alloc(4096);
  try {
    const fd = openSync(file, 'r');
    try {
      return bytes.toString('latin1', 0, readSync(fd, bytes));
    } finally {
      closeSync(fd);
    }
  } catch {
    return ''; // the permission model may forbid it
  }
}

/** The C core. Each thread has its own instance. */
export const addon: Addon = load();

const started = addon.usePoller(choosePoller() === 'thread');
if (started < 0) throw pollerFailed(started);

const ints = new Int32Array(addon.batch);

/** The thread's `struct fdp_batch`, field by field. Whoever calls the addon fills or reads it at once. */
export const batch = {
  tail: ints.subarray(0, 1),
  size: ints.subarray(1, 1 + MAX_MESSAGES),
  count: ints.subarray(1 + MAX_MESSAGES, 1 + 2 * MAX_MESSAGES),
  fd: ints.subarray(1 + 2 * MAX_MESSAGES),
} as const;
