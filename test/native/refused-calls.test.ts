import assert from 'node:assert/strict';
import { inFull } from '../support/amount.js';
import { ended, message, startChild } from '../support/child.js';
import { test } from '../support/test.js';

/** Refused alone; those that Node itself needs are not among them. */
const CALLS = ['sendmmsg', 'recvmmsg', 'accept4', 'fchmod'];
/** The replacements of calls for many messages, and the only calls where the system cannot peek. */
if (process.env['FDPASSER_PEEK'] !== 'off') CALLS.push('recvmsg', 'sendmsg');
const TOGETHER = 'sendmmsg recvmmsg accept4 fchmod close_range dup3 pidfd_open prlimit64 renameat2 statx';

function arrives(title: string, refused: string, leftOut: string | false = false): void {
  test(
    title,
    async () => {
      const child = startChild('native/refused-calls', {
        env: {
          LD_PRELOAD: `${process.env['LD_PRELOAD']}:${process.cwd()}/build/refuse.so`,
          REFUSED: refused,
        },
      });
      const end = ended(child);
      const said = await Promise.race([message<string>(child), end]);
      assert.deepEqual(await end, { code: 0, signal: null, stdout: '', stderr: '' });
      assert.equal(said, 'all arrived');
    },
    leftOut,
  );
}

// In part, each call alone is refused in one way.
for (const [way, errno] of ['ENOSYS', 'EPERM'].entries())
  for (const [index, calls] of [TOGETHER, ...CALLS].entries()) {
    const shown = calls === TOGETHER || index % 2 === way;
    const title = `all that is sent arrives in a sandbox that answers ${errno} to ${calls}`;
    arrives(title, `${errno} ${calls}`, shown ? false : inFull);
  }

arrives(
  'all that is sent arrives where SO_PEEK_OFF does nothing and recvmmsg cannot peek, as in gVisor',
  'ENOSYS gvisor',
);
