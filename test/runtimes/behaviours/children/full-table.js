// Receives 400 descriptors and keeps all that the table has room for; whenever it is full, closes what it has.
import { FdPasser } from 'fdpasser';
import { identity } from '../support.js';

const passer = FdPasser.inherit();
const report = { received: [], exhausted: 0, resumed: 0 };
let kept = [];
passer.on('exhausted', () => {
  report.exhausted++;
  for (const fd of kept) {
    report.received.push(identity(fd.fd));
    fd.close();
  }
  kept = [];
});
passer.on('resumed', () => report.resumed++);
for await (const fd of passer) kept.push(fd);
for (const fd of kept) {
  report.received.push(identity(fd.fd));
  fd.close();
}
console.log(JSON.stringify(report));
