/** Processes of the takeover's measurements. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

export const file = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Nothing that is measured takes as long. Milliseconds. */
const LONGEST = 120_000;

/** A process of a file of this folder, with a channel to it. */
export class Process {
  #messages = [];
  #wake = () => {};
  #ended = false;

  constructor(name, { args = [], env = {}, execArgv = [] } = {}) {
    this.child = fork(file(name), args, {
      env: { ...process.env, ...env },
      execArgv,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    this.exit = once(this.child, 'exit').then(() => {
      this.#ended = true;
      this.#wake();
    });
    this.child.on('message', (message) => this.#keep(message));
    this.child.stdout.setEncoding('utf8').on('data', (text) => this.#keep(text.trim()));
  }

  get pid() {
    return this.child.pid;
  }

  /** What it says next, by message or as a line. */
  async says() {
    const hangs = setTimeout(() => this.child.kill('SIGKILL'), LONGEST);
    while (this.#messages.length === 0) {
      if (this.#ended) throw new Error(`${this.child.spawnargs.slice(1).join(' ')} ended`);
      await new Promise((resolve) => (this.#wake = resolve));
    }
    clearTimeout(hangs);
    return this.#messages.shift();
  }

  async asks(order) {
    this.child.send(order);
    return (await this.says()).answer;
  }

  async end() {
    this.child.kill('SIGKILL');
    await this.exit;
  }

  #keep(message) {
    this.#messages.push(message);
    this.#wake();
  }
}

/** The clients of that port. */
export async function startClients(port) {
  const clients = new Process('clients.js', { args: [String(port)] });
  await clients.says();
  return clients;
}

/** A port that nobody has, and that the system gives nobody by itself. */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer().listen(port, '127.0.0.1');
    try {
      await once(probe, 'listening');
    } catch {
      continue;
    }
    probe.close();
    await once(probe, 'close');
    return port;
  }
}
