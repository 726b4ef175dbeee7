import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './descriptors.js';
import { leaveOut, needs } from './needs.js';

/** In a control group of its own, which is the root of what systemd sees. */
const OUTSIDE = `
  mount --make-rprivate / && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit
  mkdir "/sys/fs/cgroup/$1" && echo $$ > "/sys/fs/cgroup/$1/cgroup.procs" || exit
  exec unshare --mount --pid --fork --cgroup --net --uts --ipc --kill-child sh -c "$2" sh "$3"`;

/** It is the first process, as in a container, and changes no setting of the kernel that others have too. */
const INSIDE = `
  mount -t proc proc /proc && mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys || exit
  umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && mount -t tmpfs tmpfs /run || exit
  mkdir -p /run/systemd/system && cp "$1"/* /run/systemd/system || exit
  export container=test
  exec /lib/systemd/systemd --system --unit=test.target --log-target=null`;

/** Whether its control groups are gone: they cannot be removed while a process that was killed is in them. */
const REMOVED = `
  find /sys/fs/cgroup -depth -type d -path "*/$1*" -exec rmdir {} +
  [ -z "$(find /sys/fs/cgroup -type d -name "$1")" ]`;

const TARGET = '[Unit]\nDefaultDependencies=no\n';

/** The real systemd, as the first process of namespaces of its own, with these units beside its own. */
export class Systemd {
  readonly #name: string;
  readonly #unshare: ChildProcess;
  readonly #units: string;
  #pid = 0;

  private constructor(units: Record<string, string>) {
    this.#units = mkdtempSync(join(tmpdir(), 'fdpasser-units-'));
    this.#name = `fdpasser-test-${process.pid}`;
    for (const [name, text] of Object.entries({ 'test.target': TARGET, ...units }))
      writeFileSync(join(this.#units, name), text);
    const { LD_PRELOAD: _, ...env } = process.env;
    const args = ['--mount', 'sh', '-c', OUTSIDE, 'sh', this.#name, INSIDE, this.#units];
    this.#unshare = spawn('unshare', args, { stdio: 'ignore', env });
  }

  /** Leaves the test out where systemd cannot be started so: only root may, and not in every container. */
  static async start(units: Record<string, string>): Promise<Systemd> {
    needs('unshare', 'systemd-socket-activate');
    if (process.getuid?.() !== 0) leaveOut('root, to start systemd in namespaces');
    const systemd = new Systemd(units);
    let missing = false;
    await until(() => systemd.#runs() || (missing = systemd.#unshare.exitCode !== null));
    if (missing) {
      await systemd[Symbol.asyncDispose]();
      leaveOut('namespaces and control groups in which systemd starts');
    }
    return systemd;
  }

  #runs(): boolean {
    try {
      const { pid } = this.#unshare;
      this.#pid = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
    } catch {
      return false;
    }
    return this.#pid > 0 && spawnSync('nsenter', this.#enter('systemctl', 'is-system-running')).status === 0;
  }

  #enter(...command: string[]): string[] {
    return ['-t', `${this.#pid}`, '-m', '-p', '-n', ...command];
  }

  async systemctl(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('nsenter', this.#enter('systemctl', ...args));
    return stdout;
  }

  /** Of a unit. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.systemctl('show', unit, '--value', '-p', name)).trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#unshare.exitCode === null) {
      this.#unshare.kill('SIGKILL');
      await once(this.#unshare, 'exit');
    }
    rmSync(this.#units, { recursive: true });
    await until(() => spawnSync('sh', ['-c', REMOVED, 'sh', this.#name], { stdio: 'ignore' }).status === 0);
  }
}
