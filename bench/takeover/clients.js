/**
 * Clients that ask over connections that they keep. Their parent says what they do: `{ ask, pause }`: so many ask, and
 * wait about so many milliseconds after each answer; `'window'`: what they saw since the last time;
 * `{ burst, clients }`: so many ask for so many milliseconds, without a pause, and say what they saw; `{ idle }`: so
 * many connect and ask once; `{ webSockets }`: the same, with WebSockets; `'again'`: all of these ask once more.
 */
import { connect } from 'node:net';
import { WebSocket } from 'ws';

const port = Number(process.argv[2]);
const QUESTION = 'GET / HTTP/1.1\r\nHost: here\r\n\r\n';
/** So many connect at a time: more than the backlog would wait for long. */
const AT_ONCE = 100;

let seen = fresh();

function fresh() {
  return { begun: performance.now(), last: performance.now(), gap: 0, latencies: [], errors: 0, reconnects: 0 };
}

/** One connection, which asks one thing at a time. */
class Client {
  #socket;
  #answered;
  #text = '';
  #closing = false;

  /** Resolves with the answer, or undefined when there is none. */
  ask() {
    return new Promise((resolve) => {
      this.#answered = resolve;
      this.#text = '';
      if (this.#socket === undefined) this.#connect();
      this.#socket.write(QUESTION);
    });
  }

  get connected() {
    return this.#socket !== undefined;
  }

  #connect() {
    const socket = connect(port, '127.0.0.1');
    this.#socket = socket;
    this.#closing = false;
    socket.setNoDelay();
    socket.on('data', (bytes) => this.#hear(bytes.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      seen.reconnects++;
      this.#settle(undefined);
    });
  }

  #hear(text) {
    this.#text += text;
    const end = this.#text.indexOf('\r\n\r\n') + 4;
    if (end < 4) return;
    const length = Number(/content-length: (\d+)/i.exec(this.#text)[1]);
    if (this.#text.length < end + length) return;
    this.#closing = /connection: close/i.test(this.#text);
    const body = this.#text.slice(end);
    if (this.#closing) {
      this.#socket.destroy();
      this.#socket = undefined;
      seen.reconnects++;
    }
    this.#settle(body);
  }

  #settle(answer) {
    const answered = this.#answered;
    this.#answered = undefined;
    answered?.(answer);
  }
}

async function ask(client, pause, until = Infinity) {
  while (performance.now() < until) {
    const asked = performance.now();
    const answer = await client.ask();
    const now = performance.now();
    if (answer === undefined) {
      seen.errors++;
      await wait(5);
      continue;
    }
    seen.gap = Math.max(seen.gap, now - seen.last);
    seen.last = now;
    seen.latencies.push(now - asked);
    if (pause > 0) await wait(pause * (0.5 + Math.random())); // so that they do not ask in step
  }
}

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function takeWindow() {
  const now = performance.now();
  const { begun, last, gap, latencies, errors, reconnects } = seen;
  seen = fresh();
  return { took: now - begun, gap: Math.max(gap, now - last), latencies, errors, reconnects };
}

const asking = [];
const idle = [];
const webSockets = [];

async function connectWebSocket() {
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
  webSocket.on('error', () => {});
  await new Promise((resolve) => webSocket.once('open', resolve));
  return webSocket;
}

async function askOver(webSocket) {
  if (webSocket.readyState !== 1) return undefined;
  const answered = new Promise((resolve) => {
    webSocket.once('message', (data) => resolve(String(data)));
    webSocket.once('close', () => resolve());
  });
  webSocket.send('who');
  return answered;
}

/** Does it with all of them, some at a time. */
async function inTurn(all, work) {
  const results = [];
  for (let i = 0; i < all.length; i += AT_ONCE)
    results.push(...(await Promise.all(all.slice(i, i + AT_ONCE).map((one) => work(one)))));
  return results;
}

/** By process, how many were answered over the connection that they had. */
async function again() {
  const kept = idle.filter(({ connected }) => connected);
  const answers = await inTurn(kept, (client) => client.ask());
  answers.push(...(await inTurn(webSockets, askOver)));
  const by = {};
  for (const answer of answers) if (answer !== undefined) by[answer] = (by[answer] ?? 0) + 1;
  return by;
}

async function obey(order) {
  if (order.ask) for (let i = 0; i < order.ask; i++) void ask(new Client(), order.pause);
  else if (order === 'window') return takeWindow();
  else if (order.burst) {
    while (asking.length < order.clients) asking.push(new Client());
    takeWindow();
    await Promise.all(asking.map((client) => ask(client, 0, performance.now() + order.burst)));
    return takeWindow();
  } else if (order.idle) {
    for (let i = 0; i < order.idle; i++) idle.push(new Client());
    await inTurn(idle, (client) => client.ask());
  } else if (order.webSockets) {
    const all = Array.from({ length: order.webSockets });
    webSockets.push(...(await inTurn(all, connectWebSocket)));
  } else return again();
  return null;
}

process.on('message', (order) => void obey(order).then((answer) => process.send({ answer })));
process.on('disconnect', () => process.exit());
process.send('ready');
