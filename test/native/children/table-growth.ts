/** Receives argv[2] descriptors and keeps them all open. Reports their identities and the highest number. */
import { FdPasser, type OwnedFd } from 'fdpasser';
import { identity } from '../../support/descriptors.js';

export interface Report {
  received: string[];
  highest: number;
}

const count = Number(process.argv[2]);
const passer = FdPasser.inherit();
const kept: OwnedFd[] = [];
await new Promise<void>((resolve) => {
  for (let i = 0; i < count; i++)
    passer.pushRecvFh((fd) => {
      if (kept.push(fd) === count) resolve();
    });
});
const report: Report = {
  received: kept.map(({ fd }) => identity(fd)),
  highest: Math.max(...kept.map(({ fd }) => fd)),
};
for (const fd of kept) fd.close();
await passer.close();
process.send!(report, () => process.disconnect());
