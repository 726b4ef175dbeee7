/** Receives over its descriptor 3 until that ends, and reports what became of it. */
import { FdChannel, FdPasser, FdStream } from 'fdpasser';
import { identity } from '../../support/descriptors.js';

export interface Report {
  received: string[];
  exhausted: number;
  /** What it ended with. */
  code: string | undefined;
}

const report: Report = { received: [], exhausted: 0, code: undefined };
const take = (fds: { fd: number; close(): void }[]): void => {
  for (const fd of fds) {
    report.received.push(identity(fd.fd));
    fd.close();
  }
};
const exhausted = (): void => void report.exhausted++;

const RECEIVE = {
  async passer() {
    const passer = new FdPasser({ fh: 3 }).on('exhausted', exhausted);
    for await (const fd of passer) take([fd]);
  },
  async channel() {
    const channel = new FdChannel(3).on('exhausted', exhausted);
    for await (const { fds } of channel) take(fds);
  },
  async stream() {
    const stream = new FdStream(3).on('exhausted', exhausted).on('fds', take);
    for await (const _ of stream);
  },
};

try {
  await RECEIVE[process.argv[2] as keyof typeof RECEIVE]();
} catch (error) {
  report.code = (error as NodeJS.ErrnoException).code;
}
process.send!(report);
process.disconnect();
