import { once } from 'node:events';
import { amount } from './amount.js';
import { until } from './descriptors.js';
import { Random } from './random.js';
import { WebSocket } from './ws.js';

/** How many messages of a client wait for an answer at a time. */
const AT_ONCE = amount(4, 2);
/** How large a message is at most, in bytes. */
const SIZES = [1, 130, 5000, 70_000, 200_000].slice(0, amount(5, 4));

/** A client that sends one message after the other, some at a time, and has each echoed, with the pid of who echoes. */
export class Echoed {
  readonly webSocket: InstanceType<typeof WebSocket>;
  answers = 0;
  pongs = 0;
  pings = 0;
  by: number | undefined;
  readonly errors: string[] = [];
  ended: number | undefined;
  readonly #random: Random;
  readonly #waiting: Buffer[] = [];
  #stopped = false;

  constructor(port: number, seed: number) {
    this.#random = new Random(seed);
    this.webSocket = new WebSocket(`ws://127.0.0.1:${port}/${seed}`, { perMessageDeflate: false });
    this.webSocket.on('open', () => this.#fill());
    this.webSocket.on('pong', () => this.pongs++);
    this.webSocket.on('error', (error) => this.errors.push(error.message));
    this.webSocket.on('close', (code) => (this.ended = code));
    this.webSocket.on('message', (data) => {
      const expected = this.#waiting.shift();
      const colon = data.indexOf(':');
      if (expected === undefined || !expected.equals(data.subarray(colon + 1)))
        this.errors.push(`'${data.toString('latin1', 0, 40)}' and not '${expected?.toString('latin1', 0, 20)}'`);
      this.by = Number(data.toString('latin1', 0, colon));
      this.answers++;
      this.#fill();
    });
  }

  /** Sends nothing more, and waits for what is due. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await until(() => this.#waiting.length === 0 || this.errors.length > 0 || this.ended !== undefined);
    this.webSocket.close();
    if (this.ended === undefined) await once(this.webSocket, 'close');
  }

  #fill(): void {
    while (this.#waiting.length < AT_ONCE && !this.#stopped && this.ended === undefined) this.#send();
  }

  #send(): void {
    const random = this.#random;
    const bytes = Buffer.alloc(random.below(random.of(SIZES)), random.below(256));
    this.#waiting.push(bytes);
    if (!random.once(4)) this.webSocket.send(bytes);
    else {
      let at = 0;
      while (!random.once(3)) {
        const end = at + random.below(bytes.length - at + 1);
        this.webSocket.send(bytes.subarray(at, end), { fin: false, binary: true });
        at = end;
        if (random.once(2)) this.#ping();
      }
      this.webSocket.send(bytes.subarray(at), { fin: true, binary: true });
    }
    if (random.once(5)) this.#ping();
  }

  #ping(): void {
    this.pings++;
    this.webSocket.ping('p');
  }
}

/** Waits until each client was answered by `pid` since, or has ended. */
export async function settledOn(pid: number, clients: Echoed[]): Promise<void> {
  const before = clients.map(({ answers }) => answers);
  await until(() => clients.every(({ answers, by, ended }, i) => ended ?? (by === pid && answers > before[i]! + 10)));
}
