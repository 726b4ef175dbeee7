import assert from 'node:assert/strict';
import { closeSync, readFileSync } from 'node:fs';
import { socketpair } from 'fdpasser';
import { amount } from '../support/amount.js';
import { ended, message, startChild, type ChildOptions } from '../support/child.js';
import { anonymousFile, inFolder } from '../support/descriptors.js';
import { errnoOf, withFaults } from '../support/faults.js';
import { PEEKS } from '../support/injection.js';
import { needs } from '../support/needs.js';
import { test } from '../support/test.js';
import { WIRES, type WireKind } from '../support/wires.js';

const FILES = 3;

interface Failure {
  call: 'sendmmsg' | 'recvmmsg MSG_PEEK' | 'recvmmsg';
  /** Tells apart calls that have one name in the kernel: a receive comes after a peek. */
  when: number;
  errno: string;
}

const FAILURES: readonly Failure[] = [
  { call: 'sendmmsg', when: 1, errno: 'EAGAIN' },
  { call: 'sendmmsg', when: 1, errno: 'ENOBUFS' },
  { call: 'sendmmsg', when: 1, errno: 'EPIPE' },
  { call: 'recvmmsg MSG_PEEK', when: 1, errno: 'EAGAIN' },
  { call: 'recvmmsg MSG_PEEK', when: 1, errno: 'ENOBUFS' },
  { call: 'recvmmsg MSG_PEEK', when: 1, errno: 'EMFILE' },
  { call: 'recvmmsg', when: 2, errno: 'ENOBUFS' },
];

/** The outcome for that end. */
interface Outcome {
  sends: string[];
  got: number;
  events: string[];
  end: string;
}

/** The first calls of one end in order, those that send and those that receive. */
interface Calls {
  sending: string[];
  receiving: string[];
}

/** Makes a child send and receive on one end, under the failures of `options`. The other end is here. */
async function exchange(kind: WireKind, options: ChildOptions): Promise<Outcome> {
  const [ours, theirs] = socketpair({ type: kind.type });
  const wire = kind.open(ours);
  for (let i = 0; i < FILES; i++) {
    const fd = anonymousFile();
    wire.send(fd).catch(() => kind.givesBack && closeSync(fd));
  }
  wire.ask(FILES);
  const child = startChild('native/one-end', { ...options, peer: theirs, args: [kind.name, String(FILES)] });
  theirs.close();
  const end = ended(child);
  const outcome = await Promise.race([message<Outcome>(child), end]);
  const { code, signal, stderr } = await end;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  wire.destroy();
  return outcome as Outcome;
}

function byLibrary(kind: WireKind, { call, errno }: Failure): Promise<Outcome & Calls> {
  return withFaults(async (faults, env) => {
    faults.set({ call, action: 'fail', value: errnoOf(errno) });
    const outcome = await exchange(kind, { env });
    assert.equal(faults.count().hit, 1);
    return { ...outcome, ...firstOf(faults.trace()) };
  });
}

function byStrace(kind: WireKind, { call, when, errno }: Failure): Promise<Outcome & Calls> {
  return inFolder(async (folder) => {
    const log = `${folder}/log`;
    const inject = `inject=${call.replace(/ .*/, '')}:error=${errno}:when=${when}`;
    const strace = ['strace', '-f', '--seccomp-bpf', '-qq', '-o', log, '-e', 'trace=sendmmsg,recvmmsg', '-e', inject];
    const outcome = await exchange(kind, { under: strace });
    const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1);
    const [injected, ...more] = lines.filter((line) => line.endsWith('(INJECTED)'));
    assert.deepEqual([injected?.includes(errno), nameOf(injected ?? ''), more], [true, call, []]);
    return { ...outcome, ...firstOf(lines.map(nameOf)) };
  });
}

function nameOf(line: string): string {
  return `${/\w+mmsg/.exec(line)?.[0]}${line.includes('MSG_PEEK') ? ' MSG_PEEK' : ''}`;
}

/**
 * The calls up to the one that succeeds after the failed one. How many follow, and which comes first, depends on
 * timing.
 */
function firstOf(calls: string[]): Calls {
  return {
    sending: calls.filter((call) => call.startsWith('sendmmsg')).slice(0, 2),
    receiving: calls.filter((call) => call.startsWith('recvmmsg')).slice(0, 3),
  };
}

/**
 * Without the peek, the core's calls have the same names as libuv's calls for a child, which strace cannot tell apart.
 */
const kinds = PEEKS ? ['FdPasser stream', 'FdStream', 'FdChannel stream'] : [];

for (const [index, kind] of WIRES.filter(({ name }) => kinds.includes(name)).entries())
  test(`a call that strace makes fail is followed by the same calls and outcome as one that our library does: ${kind.name}`, async () => {
    needs('strace');
    // In part, each of them with one kind.
    for (const failure of FAILURES.filter((_, number) => amount(0, (number + index) % kinds.length) === 0)) {
      const [kernel, library] = await Promise.all([byStrace(kind, failure), byLibrary(kind, failure)]);
      assert.deepEqual(library, kernel, JSON.stringify(failure));
    }
  });
