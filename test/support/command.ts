import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ended, type Ended } from './child.js';

/** The command as the package has it. */
const file = fileURLToPath(new URL('../../../dist/bundle/cli.js', import.meta.url));

/** Starts `fdpasser` with these arguments. Its input is empty, unless `options` say otherwise. */
function startCommand(args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  return spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options });
}

/** Runs `fdpasser` with these arguments to its end. */
export function command(args: readonly string[], options: SpawnOptions = {}): Promise<Ended> {
  return ended(startCommand(args, options));
}

/** A new folder, in which a shell finds `fdpasser` as a program. Disposing of it ends what was started in it. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'fdpasser-command-'));
  readonly #children: ChildProcess[] = [];

  constructor() {
    const program = this.at('fdpasser');
    writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${file}' "$@"\n`);
    chmodSync(program, 0o755);
  }

  at(name: string): string {
    return join(this.path, name);
  }

  /** Starts `fdpasser` here. */
  start(args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = startCommand(args, { cwd: this.path, ...options });
    this.#children.push(child);
    return child;
  }

  /** Runs a script of bash here. All output of its commands is in one string. */
  async shell(script: string): Promise<Ended> {
    const env = { ...process.env, PATH: `${this.path}:${process.env['PATH']}` };
    return ended(
      spawn('bash', ['-c', `exec 2>&1\n${script}`], { cwd: this.path, env, stdio: ['ignore', 'pipe', 'ignore'] }),
    );
  }

  [Symbol.dispose](): void {
    for (const child of this.#children) child.kill('SIGTERM');
    rmSync(this.path, { recursive: true, force: true });
  }
}
