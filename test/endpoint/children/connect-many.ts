/**
 * Connects many times, to a port or path. It reports every hundredth connection, and at the end how often each process
 * answered and what failed. A path may be missing for a moment.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

const [target, count] = [process.argv[2]!, Number(process.argv[3])];
const answers: Record<string, number> = {};
const failures: string[] = [];
let begun = 0;
let done = 0;

async function connectOnce(): Promise<void> {
  for (;;) {
    try {
      const socket = target.startsWith('/') ? connect(target) : connect(Number(target), '127.0.0.1');
      await once(socket, 'connect');
      const answer = await text(socket);
      answers[answer] = (answers[answer] ?? 0) + 1;
      return;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') continue;
      failures.push(message);
      return;
    }
  }
}

async function connectInTurn(): Promise<void> {
  while (begun++ < count) {
    await connectOnce();
    if (++done % 100 === 0) process.send!('progress');
  }
}

await Promise.all(Array.from({ length: 32 }, connectInTurn));
process.send!({ answers, failures });
process.disconnect();
