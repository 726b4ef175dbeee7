/** Clients that keep asking while a server is replaced, and what they see. */
import { createHash } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './descriptors.js';
import { WebSocket } from './ws.js';

/** Where the server is. */
export type Where = { host: string; port: number } | { path: string };

export interface CrowdOptions {
  where: Where;
  protocol?: 'http' | 'https' | 'http2' | 'udp';
  /** Clients that keep asking, each over one kept-alive connection. */
  keepAlive?: number;
  /** Clients with a WebSocket on which both sides count. */
  webSockets?: number;
  /** Adds a client that repeatedly downloads a body that takes a second, and one that uploads. */
  bodies?: boolean;
}

/** Milliseconds between an answer and the next question of a client. */
const PAUSE = 20;
/** Milliseconds until a client tries again. */
const AGAIN = 20;
/** Parts of a body, each of so many bytes. */
const PARTS = 60;
const PART = 10_000;

/** Node's codes for a request of HTTP/2 that may be sent again, because the server has not begun with it. */
const UNTOUCHED = new Set(['ERR_HTTP2_GOAWAY_SESSION', 'ERR_HTTP2_INVALID_SESSION']);

export class Crowd {
  /** Errors that no client should see, each after what the client was doing. */
  readonly errors: string[] = [];
  /** Connections of clients that keep one, including WebSockets. */
  connections = 0;
  /** How many of them the server has asked to connect again: by `Connection: close`, GOAWAY or the code 1012. */
  asked = 0;
  /** Requests of HTTP/2 that the server has not begun with, and that were sent again. */
  untouched = 0;
  answers = 0;
  bodies = 0;
  frames = 0;
  readonly webSockets: CountingClient[];
  readonly #options: CrowdOptions;
  readonly #stop = new AbortController();
  readonly #loops: Promise<void>[];

  constructor(options: CrowdOptions) {
    this.#options = options;
    const { protocol = 'http', keepAlive = 0, webSockets = 0, bodies = false } = options;
    const ask = {
      http: () => this.#askOverHttp(),
      https: () => this.#askOverHttp(),
      http2: () => this.#askOverHttp2(),
      udp: () => this.#askByDatagrams(),
    }[protocol];
    this.#loops = Array.from({ length: keepAlive }, ask);
    if (bodies) this.#loops.push(this.#again('download', download), this.#again('upload', upload));
    this.webSockets = Array.from(
      { length: webSockets },
      (_, name) => new CountingClient(this, this.#webSocketUrl(name)),
    );
  }

  /** Waits until each kind of client has been served. */
  async begins(): Promise<void> {
    const { keepAlive = 0 } = this.#options;
    await until(() => this.webSockets.every(({ counted }) => counted.size > 0) && this.answers >= keepAlive);
  }

  /** Waits until the clients have been served for a while. */
  async goesOn(): Promise<void> {
    const enough = this.answers + 2 * (this.#options.keepAlive ?? 0);
    await until(() => this.answers >= enough);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    for (const webSocket of this.webSockets) await webSocket.stop();
    await Promise.all(this.#loops);
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  get #secure(): boolean {
    return this.#options.protocol === 'https';
  }

  #webSocketUrl(name: number): string {
    const { where } = this.#options;
    if ('path' in where) return `ws+unix:${where.path}:/${name}`;
    return `${this.#secure ? 'wss' : 'ws'}://${where.host}:${where.port}/${name}`;
  }

  get #request(): http.RequestOptions {
    const { where } = this.#options;
    return {
      ...('path' in where ? { socketPath: where.path } : where),
      ...(this.#secure && { protocol: 'https:', rejectUnauthorized: false }),
    };
  }

  async #askOverHttp(): Promise<void> {
    const module = this.#secure ? https : http;
    const agent = new module.Agent({ keepAlive: true, maxSockets: 1 });
    const connect = agent.createConnection.bind(agent) as (...args: unknown[]) => net.Socket;
    Object.assign(agent, { createConnection: (...args: unknown[]) => (this.connections++, connect(...args)) });
    while (!this.#stopped) {
      try {
        const response = await responseTo(module.get({ ...this.#request, path: '/', agent }));
        if (response.headers.connection === 'close') this.asked++;
        await bodyOf(response);
        this.answers++;
        await sleep(PAUSE);
      } catch (error) {
        await this.failed('ask', error);
      }
    }
    agent.destroy();
  }

  /** Asks over one session, until the session gets GOAWAY. */
  async #askOverHttp2(): Promise<void> {
    const { host, port } = this.#options.where as { host: string; port: number };
    let session: http2.ClientHttp2Session | undefined;
    const leave = (): void => {
      session?.close();
      session = undefined;
    };
    while (!this.#stopped) {
      try {
        if (session === undefined) {
          this.connections++;
          const made = http2.connect(`https://${host}:${port}`, { rejectUnauthorized: false });
          made.once('goaway', () => {
            this.asked++;
            if (session === made) leave();
          });
          made.on('error', () => {}); // the requests get the error
          session = made;
        }
        const stream = session.request({ ':path': '/' });
        await bodyOf(stream);
        if (stream.rstCode !== 0) throw Object.assign(new Error('reset'), { code: `RST_STREAM ${stream.rstCode}` });
        this.answers++;
        await sleep(PAUSE);
      } catch (error) {
        leave();
        if (isUntouched(error as NodeJS.ErrnoException)) this.untouched++;
        else await this.failed('ask', error);
      }
    }
    leave();
  }

  /** Each datagram and each answer has a number. Only a few are under way at a time. */
  async #askByDatagrams(): Promise<void> {
    const { host, port } = this.#options.where as { host: string; port: number };
    const socket = dgram.createSocket('udp4');
    socket.connect(port, host);
    await once(socket, 'connect');
    this.connections++;
    const due = new Set<number>();
    socket.on('error', (error) => this.errors.push(`ask: ${(error as NodeJS.ErrnoException).code}`));
    socket.on('message', (bytes) => {
      const number = Number(bytes.toString().split(' ')[1]);
      if (!due.delete(number)) this.errors.push(`ask: ${number} is answered twice`);
      this.answers++;
    });
    for (let number = 0; !this.#stopped; number++) {
      due.add(number);
      socket.send(String(number));
      await sleep(2);
      await until(() => due.size < 16, 2000).catch(() => {
        for (const lost of due) this.errors.push(`ask: ${lost} is not answered`);
        due.clear();
      });
    }
    await until(() => due.size === 0, 2000).catch(() => this.errors.push(`ask: ${due.size} are not answered`));
    socket.close();
  }

  async #again(what: string, work: (request: http.RequestOptions) => Promise<string | undefined>): Promise<void> {
    while (!this.#stopped) {
      try {
        const wrong = await work({ ...this.#request, agent: false });
        if (wrong !== undefined) this.errors.push(`${what}: ${wrong}`);
        this.bodies++;
      } catch (error) {
        await this.failed(what, error);
      }
    }
  }

  async failed(what: string, error: unknown): Promise<void> {
    const { code, message } = error as NodeJS.ErrnoException;
    this.errors.push(`${what}: ${code ?? message}`);
    await sleep(AGAIN);
  }
}

async function responseTo(request: http.ClientRequest): Promise<http.IncomingMessage> {
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  return response;
}

async function bodyOf(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as unknown as Buffer);
  return Buffer.concat(chunks);
}

const module = ({ protocol }: http.RequestOptions): typeof http | typeof https =>
  protocol === 'https:' ? https : http;

/** Returns what is wrong with the body, if anything. */
async function download(options: http.RequestOptions): Promise<string | undefined> {
  const whole = Buffer.concat(Array.from({ length: PARTS }, (_, part) => Buffer.alloc(PART, part)));
  const body = await bodyOf(await responseTo(module(options).get({ ...options, path: '/download' })));
  return body.equals(whole) ? undefined : `${body.length} bytes`;
}

async function upload(options: http.RequestOptions): Promise<string | undefined> {
  const hash = createHash('sha256');
  const request = module(options).request({ ...options, path: '/upload', method: 'POST' });
  const answered = responseTo(request);
  answered.catch(() => {});
  for (let part = 0; part < PARTS; part++) {
    const bytes = Buffer.alloc(PART, part);
    hash.update(bytes);
    request.write(bytes);
    await sleep(PAUSE);
  }
  request.end();
  const body = await bodyOf(await answered);
  return body.toString() === hash.digest('hex') ? undefined : body.toString();
}

function isUntouched({ code, message }: NodeJS.ErrnoException): boolean {
  return UNTOUCHED.has(code!) || message.includes('NGHTTP2_REFUSED_STREAM');
}

/** A client with a WebSocket on which both sides count. It connects again when it is asked to. */
class CountingClient {
  /** How many frames have come from each process. The next frame must have this number. */
  readonly counted = new Map<string, number>();
  readonly #crowd: Crowd;
  readonly #url: string;
  readonly #timer: NodeJS.Timeout;
  #webSocket: WebSocket;
  #sent = 0;
  #echoed = 0;
  #ended = false;
  #stopped = false;

  constructor(crowd: Crowd, url: string) {
    this.#crowd = crowd;
    this.#url = url;
    this.#webSocket = this.#connect();
    this.#timer = setInterval(() => {
      if (this.#webSocket.readyState === 1) this.#webSocket.send(String(this.#sent++));
    }, PAUSE);
  }

  #connect(): WebSocket {
    this.#sent = this.#echoed = 0;
    this.#ended = false;
    this.#crowd.connections++;
    const webSocket = new WebSocket(this.#url, { perMessageDeflate: false, rejectUnauthorized: false });
    webSocket.on('error', (error) => this.#crowd.errors.push(`WebSocket: ${error.message}`));
    webSocket.on('message', (data) => this.#hear(data.toString()));
    webSocket.on('close', (code) => this.#closed(code));
    return webSocket;
  }

  #hear(text: string): void {
    this.#crowd.frames++;
    const [first, , number] = text.split(' ');
    const expected = first === 'echo' ? `echo ${this.#echoed++}` : `${first} counts ${this.counted.get(first!) ?? 0}`;
    if (first !== 'echo') this.counted.set(first!, Number(number) + 1);
    if (text !== expected) this.#crowd.errors.push(`WebSocket: '${text}' and not '${expected}'`);
  }

  #closed(code: number): void {
    this.#ended = true;
    if (this.#stopped) return;
    if (code === 1012) {
      this.#crowd.asked++;
      this.#webSocket = this.#connect();
    } else this.#crowd.errors.push(`WebSocket: ended with ${code}`);
  }

  /** Stops sending, waits for the echoes that are due, and closes the WebSocket. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await until(() => (this.#webSocket.readyState === 1 && this.#echoed === this.#sent) || this.#ended);
    this.#stopped = true;
    this.#webSocket.close();
    if (!this.#ended) await once(this.#webSocket, 'close');
  }
}
