import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter } from 'node:path';

/** Programs that some tests need, and the packages of Debian and Ubuntu that have them. */
const PACKAGES = {
  'chromium-headless-shell': 'chromium-headless-shell',
  'dbus-daemon': 'dbus',
  haproxy: 'haproxy',
  perl: 'perl',
  'IO::FDPass of Perl': 'libio-fdpass-perl',
  prlimit: 'util-linux',
  python3: 'python3',
  setpriv: 'util-linux',
  strace: 'strace',
  'systemd-socket-activate': 'systemd',
  unshare: 'util-linux',
  weston: 'weston',
};

/**
 * Thrown by a test that this machine cannot run. `test()` then leaves the test out, and the runner names what was
 * missing.
 */
export class Missing extends Error {}

/**
 * Leaves this test out if one of these is not installed. With `CI` set the test fails instead. Call it before anything
 * is opened.
 */
export function needs(...names: (keyof typeof PACKAGES)[]): void {
  for (const name of names) {
    if (isInstalled(name)) continue;
    const what = `${name} (apt-get install ${PACKAGES[name]})`;
    assert.equal(process.env['CI'], undefined, `this test needs ${what}; with CI set it is not left out`);
    leaveOut(what);
  }
}

/** Leaves this test out because this machine lacks `what`, which nobody can install. */
export function leaveOut(what: string): never {
  throw new Missing(`needs ${what}`);
}

function isInstalled(name: keyof typeof PACKAGES): boolean {
  if (name === 'IO::FDPass of Perl') return isInstalled('perl') && succeeds('perl', '-MIO::FDPass', '-e', '1');
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => isExecutable(`${folder}/${name}`));
}

function succeeds(command: string, ...args: string[]): boolean {
  try {
    const { LD_PRELOAD: _, ...env } = process.env;
    execFileSync(command, args, { env, stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
