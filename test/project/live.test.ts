import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { amount } from '../support/amount.js';
import { BrowserStuck, withPage, type Page } from '../support/browser.js';
import { freePort } from '../support/connection.js';
import { until } from '../support/descriptors.js';
import { within } from '../support/limit.js';
import { ask } from '../support/takeover.js';
import { socketsAt } from '../support/tcp.js';
import { testInFull } from '../support/test.js';

const live = fileURLToPath(new URL('../../../examples/live.js', import.meta.url));

/** What the page's table tells of a WebSocket, a poll and an event stream. */
interface Row {
  count: number;
  pid: number;
  port: number;
  anew: string;
}

async function rowsOf(page: Page): Promise<Row[]> {
  const rows =
    "[...document.querySelectorAll('tbody tr')].map(({ cells }) => [...cells].map((cell) => cell.textContent))";
  return ((await page.evaluate(rows)) as string[][]).map(([, count, pid, port, anew]) => ({
    count: Number(count),
    pid: Number(pid),
    port: Number(port),
    anew: anew!,
  }));
}

async function rowsWhen(page: Page, holds: (rows: readonly Row[]) => boolean): Promise<Row[]> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const rows = await rowsOf(page);
    if (holds(rows)) return rows;
    if (performance.now() > deadline) throw new Error(`the page shows ${JSON.stringify(rows)}`);
    await sleep(20);
  }
}

/** Waits until all three count on, answered by another process. */
function moved(page: Page, before: readonly Row[]): Promise<Row[]> {
  return rowsWhen(page, (rows) =>
    rows.every(({ pid, count }, index) => {
      const { pid: old, count: from } = before[index] ?? { pid: 0, count: 0 };
      return pid !== old && count > from;
    }),
  );
}

/**
 * Opens the page. A browser that does not is stuck only if the server answers a plain client, and has left nothing
 * unread.
 */
async function open(page: Page, port: number): Promise<void> {
  try {
    await page.goto(`http://127.0.0.1:${port}/`);
  } catch (cause) {
    if (!(cause instanceof BrowserStuck)) throw cause;
    await within(10_000, ask({ port }), () => new Error('the server answers a plain client as little', { cause }));
    const left = socketsAt(port).filter(({ unread }) => unread); // bytes, or connections where it listens
    if (left.length > 0) throw new Error(`the server leaves ${JSON.stringify(left)}`, { cause });
    throw cause;
  }
}

/** Starts the demo and waits until it serves. What it prints is part of the error if it ends instead. */
async function start(ports: readonly number[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [live, ...ports.map(String)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
  await until(() => printed.includes('serves') || hasEnded(child));
  if (!printed.includes('serves')) throw new Error(`the demo serves nothing: ${printed}`);
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill();
  await until(() => hasEnded(child), 30_000);
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

testInFull('a page stays connected while its server is replaced, and not when it is started anew', async () => {
  await withPage({ width: 780, height: 310 }, async (page) => {
    const ports = [await freePort(), await freePort()];
    let server = await start(ports);
    await open(page, ports[0]!);
    const first = await moved(page, []);
    const pids = new Set(first.map(({ pid }) => pid));
    const replacements = amount(4, 2, 10);
    let rows = first;
    for (let count = 0; count < replacements; count++) {
      await page.click('#replace');
      rows = await moved(page, rows);
      for (const { pid } of rows) pids.add(pid);
    }
    assert.equal(pids.size, replacements + 1);
    assert.deepEqual(
      rows.map(({ port, anew }) => ({ port, anew })),
      first.map(({ port }) => ({ port, anew: 'never' })),
    );
    const { SCREENSHOT: path } = process.env;
    if (path !== undefined) await page.screenshot({ path });

    await stop(server);
    server = await start(ports);
    await rowsWhen(page, (again) => again.some(({ anew }) => anew !== 'never'));
    await stop(server);
  });
});
