import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ended, type Ended } from './child.js';
import { until } from './descriptors.js';
import type { Site } from './takeover.js';

export const REGISTER = fileURLToPath(new URL('../../../dist/bundle/takeover-register.js', import.meta.url));

/**
 * A program that does not use takeover, while it runs, by default with `register`. Its arguments are the port and a
 * path of the site. It prints "listens".
 */
export class Plain {
  readonly child: ChildProcess;
  readonly end: Promise<Ended>;
  said = '';

  constructor(
    { folder, control, port }: Site,
    name: string,
    text: string,
    { register = true, env = {}, cwd }: { register?: boolean; env?: NodeJS.ProcessEnv; cwd?: string } = {},
  ) {
    const script = join(folder, name);
    writeFileSync(script, text);
    const flags = register ? ['--import', REGISTER] : [];
    const args = [...flags, script, `${port}`, join(folder, 'path')];
    const taken = { FDPASSER_TAKEOVER: control, FDPASSER_TAKEOVER_PROBATION: '500' };
    const all = { ...process.env, ...taken, ...env };
    this.child = spawn(process.execPath, args, { env: all, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout!.on('data', (chunk: unknown) => (this.said += String(chunk)));
    this.end = ended(this.child);
  }

  get pid(): string {
    return `${this.child.pid}`;
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.end;
  }

  async listens(): Promise<void> {
    await this.says('listens');
  }

  /** Waits until it has printed this. */
  async says(word: string): Promise<void> {
    await until(() => this.said.includes(word) || this.child.exitCode !== null);
    assert.ok(this.said.includes(word), this.said);
  }
}
