/**
 * Two processes with a socket between them, one that sends and one that receives.
 *
 * Each has its end as descriptor 3. A line on its standard input is a number of descriptors to pass. It answers with a
 * line of JSON: when it began and ended (nanoseconds of the monotonic clock, which all processes share), the CPU time
 * that it used (nanoseconds), its highest memory so far (bytes) and, as `more`, further figures of its row. The
 * receiver first writes "ready".
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { socketpair } from 'fdpasser';

/** Milliseconds that an answer may take: far more than any takes, even under Valgrind. */
const LONGEST = 600_000;

/** Starts the pair of a row. `under` returns the command under which a side (`'send'` or `'receive'`) runs. */
export function startPair(row, under = () => []) {
  const ends = socketpair();
  const [sender, receiver] = ['send', 'receive'].map((role, i) => startSide([...under(role), ...row[role]], ends[i]));
  for (const end of ends) end.close();
  return {
    async run(count) {
      receiver.ask(count);
      await receiver.answer();
      sender.ask(count);
      return { sender: JSON.parse(await sender.answer()), receiver: JSON.parse(await receiver.answer()) };
    },
    async end() {
      sender.end();
      receiver.end();
      await Promise.all([sender.ended, receiver.ended]);
    },
  };
}

function startSide([command, ...args], socket) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit', socket.fd] });
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  // A call that waits for an answer rejects with it.
  ended.catch(() => {});
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    ended,
    ask: (count) => child.stdin.write(`${count}\n`),
    end: () => child.stdin.end(),
    async answer() {
      const hangs = setTimeout(() => child.kill('SIGKILL'), LONGEST);
      const { value, done } = await lines.next();
      clearTimeout(hangs);
      if (!done) return value;
      await ended;
      throw new Error(`${[command, ...args].join(' ')} ended: code ${child.exitCode}, signal ${child.signalCode}`);
    },
  };
}
