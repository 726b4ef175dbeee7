/** Does what its argument says and then nothing more; reports what happens, and that the event loop is empty. */
import { FdPasser } from 'fdpasser';
import { identity } from '../../support/descriptors.js';
import { TOO_MANY, pushFiles } from '../../support/passing.js';

const passer = FdPasser.inherit();
const report = (line: string): void => void process.send!(line);

const doing: Record<string, () => unknown> = {
  nothing: () => {},
  receive: () => passer.pushRecvFh((fd) => report(identity(fd.fd))),
  iterate: async () => {
    for await (const fd of passer) {
      using owned = fd;
      report(identity(owned.fd));
    }
  },
  'receive once': async () => {
    using fd = await passer.receive();
    report(identity(fd.fd));
  },
  'aborted receive': async () => {
    const control = new AbortController();
    const aborted = passer.receive({ signal: control.signal }).catch(() => report('aborted'));
    await new Promise((resolve) => setImmediate(resolve));
    control.abort();
    await aborted;
  },
  send: () => {
    pushFiles(passer, TOO_MANY - 1);
    pushFiles(passer, 1);
  },
  'close with unsent': () => {
    pushFiles(passer, TOO_MANY);
    void passer.close();
  },
  'destroy with pending': () => {
    passer.receive().catch(() => report('refused'));
    pushFiles(passer, TOO_MANY);
    setImmediate(() => passer.destroy());
  },
};

process.once('beforeExit', () => report('nothing left to do'));
void doing[process.argv[2]!]!();
report('began');
