import assert from 'node:assert/strict';
import { execFile, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { TakeoverOptions } from 'fdpasser/takeover';
import { amount } from './amount.js';
import { ended, startChild, type Ended } from './child.js';
import { freePort } from './connection.js';
import { inFolder, until } from './descriptors.js';
import { needs } from './needs.js';

/** The servers of `children/server.ts`. */
export type ServerKind = 'http' | 'https' | 'http2' | 'net' | 'udp' | 'counter' | 'websocket' | 'mixed' | 'removing';

/** What `children/server.ts` of the takeover tests must do. */
export interface ServerConfig {
  control: string;
  listeners: { name: string; kind: ServerKind; options: unknown }[];
  options?: TakeoverOptions;
  /** Lets in its own user, or all. */
  allow?: 'own' | 'all';
  /** It sends itself this signal at this step. */
  at?: { step: string; signal: NodeJS.Signals } | undefined;
  /** It closes its servers at this step. */
  closesAt?: string;
  /** Before it closes a server, it removes the listeners of its `'close'`. */
  removes?: boolean;
  /** Connections of its own protocol stay. */
  savesNothing?: boolean;
  /** It fails to go on with connections of its own protocol. */
  restoresNothing?: boolean;
  /** Of its servers. */
  maxConnections?: number;
  /** It never sends READY. */
  never?: boolean;
  /** It ends before READY. */
  breaks?: boolean;
  /** Its listeners of what its servers and a takeover tell throw. */
  throws?: boolean;
}

export type ServerCommand =
  'confirm' | 'abort' | 'upgrade' | 'upgrade to nothing' | 'state' | 'answer' | 'exit' | 'close';

export interface ServerReport {
  event:
    | 'met'
    | 'serving'
    | 'handover'
    | 'rollback'
    | 'rolledback'
    | 'drained'
    | 'failed'
    | 'done'
    | 'state'
    | 'holds'
    | 'uncaught';
  pid?: number | undefined;
  code?: string | undefined;
  step?: string | undefined;
  message?: string;
}

/** One process that serves, or will serve. */
export class ServerChild {
  readonly child: ChildProcess;
  readonly end: Promise<Ended>;
  readonly reports: ServerReport[] = [];
  over: Ended | undefined;

  constructor(config: ServerConfig, child = 'takeover/server', under: string[] = []) {
    this.child = startChild(child, { args: [JSON.stringify(config)], under });
    this.child.on('message', (report: ServerReport) => this.reports.push(report));
    this.end = ended(this.child).then((end) => (this.over = end));
  }

  get pid(): number {
    return this.child.pid!;
  }

  told(event: ServerReport['event']): ServerReport | undefined {
    return this.reports.find((report) => report.event === event);
  }

  /** Waits until it has reported this event, and fails if it ends before. */
  async tells(event: ServerReport['event']): Promise<ServerReport> {
    await until(() => this.told(event) !== undefined || this.over !== undefined);
    const report = this.told(event);
    if (report === undefined)
      throw new Error(`no '${event}' but ${JSON.stringify(this.reports)}; ${JSON.stringify(this.over)}`);
    return report;
  }

  command(command: ServerCommand): void {
    this.child.send(command);
  }

  /** Waits until it was stopped by a signal, or has ended. */
  async stopsOrEnds(): Promise<void> {
    await until(() => this.over !== undefined || isStopped(this.pid));
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    if (this.over === undefined) this.child.kill(signal);
  }
}

/** Whether a signal has stopped it. */
export function isStopped(pid: number): boolean {
  try {
    return /^State:\s*T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** A folder with a control path, a free port, and the processes that a test starts: none outlives it. */
export interface Site {
  folder: string;
  control: string;
  port: number;
  /** `under`: a command that runs it. */
  readonly start: (config?: Partial<ServerConfig>, child?: string, under?: string[]) => ServerChild;
  /** Keeps asking at the port until the test is over. */
  readonly load: (target?: { port: number } | { socketPath: string }) => Load;
}

/** Runs `body` with a site, by default with one HTTP server at a TCP port. */
export async function onSite(body: (site: Site) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    const port = await freePort();
    const control = join(folder, 'control');
    const started: ServerChild[] = [];
    const loads: Load[] = [];
    const listeners: ServerConfig['listeners'] = [{ name: 'web', kind: 'http', options: { port, host: '127.0.0.1' } }];
    try {
      await body({
        folder,
        control,
        port,
        start: (config = {}, child, under) => {
          const server = new ServerChild({ control, listeners, ...config }, child, under);
          started.push(server);
          return server;
        },
        load: (target = { port }) => {
          const load = new Load(target);
          loads.push(load);
          return load;
        },
      });
    } finally {
      for (const server of started) server.kill();
      await Promise.all([...started.map(({ end }) => end), ...loads.map((load) => load.stop())]);
    }
  });
}

/** Asks over a new connection, and resolves with the answer: the pid. */
export function ask(
  target: { port: number } | { socketPath: string },
  path = '/',
  agent: http.Agent | false = false,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', ...target, path, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(text));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}

const ASK = `
  const { get } = require('node:http');
  const said = (response) => response.pipe(process.stdout);
  get({ socketPath: process.argv[1], agent: false }, said).on('error', ({ code }) => console.log(code));
`;

/** The same for a user without rights. The result is the code of the error when there is no answer. */
export async function askAsNobody(path: string): Promise<string> {
  needs('setpriv');
  const asNobody = ['--reuid', '65534', '--clear-groups', process.execPath, '-e', ASK, path];
  const { stdout } = await promisify(execFile)('setpriv', asNobody);
  return stdout.trim();
}

/** Why this process cannot do that. */
export const cannotBeNobody = process.getuid?.() === 0 ? false : 'only root can be another user';

/** Has the process that serves start its own successor, which then serves until this resolves. */
export async function upgradesItself({ port }: Site, serving: ServerChild): Promise<void> {
  const exited = once(serving.child, 'exit');
  serving.command('upgrade');
  const { pid } = await serving.tells('done');
  try {
    assert.equal(await ask({ port }), `${pid}`);
    assert.deepEqual(await exited, [0, null]);
  } finally {
    process.kill(pid!);
  }
}

/** Has one more process take over from the one that serves, and ends the load. */
export async function nextUpgradeWorks({ port, start }: Site, serving: ServerChild, clients: Load): Promise<void> {
  const next = start({ options: { probation: 100 } });
  await next.tells('serving');
  await serving.tells('drained');
  await clients.answers(5);
  await clients.stop();
  assert.equal(await ask({ port }), `${next.pid}`);
}

/** Between an answer and the next question, in milliseconds: in full none, and else what leaves time to other tests. */
export const PAUSE = amount(0, 20);

/** Keeps asking, each time over a new connection, until it is stopped. */
export class Load {
  readonly pids = new Set<string>();
  readonly errors: NodeJS.ErrnoException[] = [];
  answered = 0;
  #stopped = false;
  readonly #loop: Promise<void>;

  constructor(target: { port: number } | { socketPath: string }) {
    this.#loop = this.#run(target);
  }

  async #run(target: { port: number } | { socketPath: string }): Promise<void> {
    while (!this.#stopped) {
      try {
        this.pids.add(await ask(target));
        this.answered++;
      } catch (error) {
        this.errors.push(error as NodeJS.ErrnoException);
      }
      if (PAUSE > 0) await sleep(PAUSE);
    }
  }

  /** Waits for `count` more answers. */
  async answers(count: number): Promise<void> {
    const enough = this.answered + count;
    await until(() => this.answered >= enough);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }
}
