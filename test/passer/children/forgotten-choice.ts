/** Has a pair and queues something on it; its argument says what it does then. Prints the warnings that it gets. */
import { FdPasser, type OwnedFd } from 'fdpasser';

const passer = new FdPasser();
process.on('warning', ({ name, message }) => process.stdout.write(`${name}: ${message}\n`));

const cases: Record<string, () => void> = {
  /** Lives on for something else. */
  waits() {
    void passer.peer.fd;
    passer.pushRecvFh((fd: OwnedFd) => fd.close());
    passer.pushSendFh(0, { keepOpen: true });
    passer.pushSendFh(0, { keepOpen: true });
    const alive = setInterval(() => {}, 1000);
    process.on('warning', () => clearInterval(alive));
  },
  /** Does nothing else. */
  idle() {
    passer.pushSendFh(0, { keepOpen: true });
    void passer.peer.fd;
    process.on('beforeExit', () => passer.destroy());
  },
  /** Again and again. */
  twice() {
    void passer.peer.fd;
    passer.pushRecvFh((fd: OwnedFd) => fd.close());
    process.once('beforeExit', () => setImmediate(() => passer.pushRecvFh((fd: OwnedFd) => fd.close())));
  },
  chosen() {
    void passer.peer.fd;
    passer.pushSendFh(0, { keepOpen: true });
    passer.iAmParent();
  },
  closed() {
    void passer.peer.fd;
    passer.pushSendFh(0, { keepOpen: true });
    passer.destroy();
  },
  withdrawn() {
    void passer.peer.fd;
    const { signal } = new AbortController();
    passer.receive({ signal: AbortSignal.any([signal, AbortSignal.abort()]) }).catch(() => {});
  },
  'not-known'() {
    passer.pushSendFh(0, { keepOpen: true });
  },
};
cases[process.argv[2]!]!();
