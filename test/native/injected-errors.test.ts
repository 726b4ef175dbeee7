import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { inFull } from '../support/amount.js';
import { ended, message, startChild } from '../support/child.js';
import { withFaults } from '../support/faults.js';
import { LOOK, NOT_INJECTED, SEND, TABLE, TAKE, TELL, type Injection, type Outcome } from '../support/injection.js';
import { partly, test } from '../support/test.js';
import { WIRES } from '../support/wires.js';

/** `npm run test:faults` tries all; otherwise it is one wire of each class, and each error once. */
const ALL = process.env.FAULTS_ALL !== undefined;
const LEFT_OUT = new Set(
  ALL
    ? []
    : ['FdPasser seqpacket', 'FdPasser dgram', 'FdPasser batch', 'FdPasser stream, asked late', 'FdChannel stream'],
);
const uses = [...new Set(TABLE.flatMap((row) => row.uses))].filter((use) => !LEFT_OUT.has(use));

/** Temporary errors, after which the call is retried by timer: retrying without a pause would spin. */
const PASSING: Record<string, string[]> = {
  [SEND]: ['ENOBUFS', 'ENOMEM', 'ETOOMANYREFS'],
  [TELL]: ['ENOBUFS', 'ENOMEM'],
  [LOOK]: ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'],
  [TAKE]: ['ENOBUFS', 'ENOMEM'],
};

const GROWS = 'growing the table';

/** One of the calls in the table, and its possible outcomes. */
interface Case extends Injection {
  right: string[];
}

function casesOf(use: string, call: string | undefined): Case[] {
  const cases: Case[] = [];
  const wire = WIRES.some(({ name }) => name === use);
  // Each of these has a process of its own, so in part there is one for each call.
  const isFew = use === GROWS && !ALL && inFull !== false;
  for (const row of TABLE.filter((row) => row.uses.includes(use) && row.call === (call ?? row.call))) {
    for (const [right, errnos] of Object.entries(row.outcomes)) {
      for (const errno of errnos.split(' ')) {
        const also = Object.entries(row.later ?? {}).filter(([, errnos]) => errnos.split(' ').includes(errno));
        const later = [right, ...also.map(([outcome]) => outcome)].flatMap((outcome) => outcome.split(' or '));
        const one = (times: Injection['times'], first: number): void =>
          void cases.push({ call: row.call, errno, times, first, right: first === 1 ? right.split(' or ') : later });
        if (isFew && cases.at(-1)?.call === row.call) continue;
        one('once', 1);
        if (!ALL) continue;
        one('three times', 1);
        for (const first of wire && /^(send|recv)/.test(row.call) ? [2, 3, 4] : []) one('once', first);
        if (wire && PASSING[row.call]?.includes(errno)) one('until it relents', 1);
      }
    }
  }
  return cases;
}

/** The warning of a server, which is the only report of a full table. */
const WAITS_FOR_ROOM = /^\(node:\d+\) FdPasserWarning: A connection to .* waits in the kernel .*\n\(Use .*\n/;

async function inject(use: string, injections: Injection[]): Promise<Outcome[]> {
  return withFaults(async (_, env) => {
    const child = startChild('native/injected', { env });
    const end = ended(child);
    child.send({ use, injections });
    const outcomes = await Promise.race([message<Outcome[]>(child), end]);
    const { code, signal, stderr: said } = await end;
    const stderr = said.replace(WAITS_FOR_ROOM, '');
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
    return outcomes as Outcome[];
  });
}

let injected = 0;

/** In the full run, a use has too many cases for one test. */
const tests = uses.flatMap((use): { use: string; call: string | undefined }[] =>
  ALL ? TABLE.filter((row) => row.uses.includes(use)).map(({ call }) => ({ use, call })) : [{ use, call: undefined }],
);

for (const { use, call: only } of tests) {
  partly(use !== GROWS && !use.endsWith('asked late'))(
    `a system call that fails has the stated outcome: ${[use, only].filter(Boolean).join(', ')}`,
    async () => {
      const cases = casesOf(use, only);
      // A process grows its table once.
      const batches = use === GROWS ? cases.map((one) => [one]) : [cases];
      const outcomes = await batches.reduce<Promise<Outcome[]>>(
        async (before, batch) => [...(await before), ...(await inject(use, batch))],
        Promise.resolve([]),
      );
      const wrong: Outcome[] = [];
      for (const [i, one] of outcomes.entries()) {
        const { call, errno, times, hits } = one;
        const outcome = one.outcome.replace(/refuses \d/, 'refuses some');
        const happened = one.first === 1 || hits > 0;
        if (happened) injected++;
        const right = happened ? cases[i]!.right : ['all arrives'];
        if (!right.includes(outcome) || (happened && hits === 0)) wrong.push(one);
        if (process.env.FAULTS_TABLE !== undefined && happened)
          console.log(
            `${use} | ${call} | ${errno} | ${times}${one.first === 1 ? '' : ` from call ${one.first}`} | ${outcome}`,
          );
      }
      assert.deepEqual(wrong, []);
    },
  );
}

test('the table has every function of the system that the core calls', () => {
  if (ALL) console.log(`injected errors: ${injected} tried`);
  const core = fileURLToPath(new URL(`../../${process.platform}-${process.arch}/fdpasser.node`, import.meta.url));
  const called = execFileSync('nm', ['-D', '--undefined-only', '--format=posix', core], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.replace(/[@ ].*/, ''))
    .filter((name) => name !== '' && !/^(napi_|_|mem|sigfillset$)/.test(name) && !HARMLESS.has(name));
  const inTable = new Set([...TABLE.map(({ call }) => call.replace(/ .*/, '')), ...NOT_INJECTED]);
  assert.deepEqual(
    called.filter((name) => !inTable.has(name)),
    [],
  );
});

/** Functions that make no system call, or none that can fail. */
const HARMLESS = new Set([
  'calloc',
  'clock_gettime',
  'fclose',
  'fgets',
  'fopen',
  'free',
  'getdtablesize',
  'getpid',
  'malloc',
  'realloc',
  'dladdr',
  'dlopen',
  'dlsym',
  'pthread_getspecific',
  'pthread_key_create',
  'pthread_setspecific',
  'pthread_attr_destroy',
  'pthread_attr_init',
  'pthread_attr_setdetachstate',
  'pthread_attr_setstacksize',
  'pthread_cond_signal',
  'pthread_cond_timedwait',
  'pthread_mutex_lock',
  'inet_ntop',
  'inet_pton',
  'nanosleep',
  'pthread_mutex_trylock',
  'pthread_mutex_unlock',
  'pthread_once',
  'pthread_self',
  'pthread_setname_np',
  'pthread_sigmask',
  'snprintf',
  'strnlen',
  'strstr',
  'sysconf',
  'umask',
  'uname',
]);
