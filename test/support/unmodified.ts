import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { freePort } from './connection.js';
import { until } from './descriptors.js';
import { Service } from './service.js';
import { ask } from './takeover.js';

export const app = fileURLToPath(new URL('../cli/children/app.js', import.meta.url));
const node = `'${process.execPath}' '${app}'`;

/** How the program is started: by itself, and with others between. */
export const STARTS = {
  node: [process.execPath, app],
  'sh -c': ['sh', '-c', `PORT=$PORT ${node}; exit $?`],
  /** With express. */
  'npm start': ['npm', 'start', '--silent'],
};

export type Start = keyof typeof STARTS;

/** A program that knows nothing of fdpasser: it listens at a port by itself. */
export class Unmodified extends Service {
  readonly port: number;

  private constructor(behaviour: string, port: number, start: Start | readonly string[], options: readonly string[]) {
    const command = typeof start === 'string' ? STARTS[start] : start;
    super(behaviour, options, ['env', `PORT=${port}`, ...command], (folder) =>
      writeFileSync(folder.at('package.json'), JSON.stringify({ scripts: { start: `WITH=express ${node}` } })),
    );
    this.port = port;
  }

  static async start(
    behaviour: string,
    start: Start | readonly string[] = 'node',
    options: readonly string[] = [],
  ): Promise<Unmodified> {
    const service = new Unmodified(behaviour, await freePort(), start, options);
    try {
      await until(() => service.status.length > 0 || service.child.exitCode !== null);
      assert.equal(service.child.exitCode, null, service.stderr);
      return service;
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Those that serve. */
  get pids(): number[] {
    return this.status.map((line) => Number(line.split(':')[1]));
  }

  /** The first of them. */
  get pid(): number {
    return this.pids[0]!;
  }

  ask(path = '/'): Promise<string> {
    return ask({ port: this.port }, path);
  }
}
