import { openSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { FdPasser, socketpair } from 'fdpasser';

if (workerData.task === 'echo') {
  const passer = new FdPasser({ fh: workerData.fd });
  for await (const fd of passer) await passer.send(fd);
} else {
  const [a, b] = socketpair();
  const one = new FdPasser({ fh: a });
  const other = new FdPasser({ fh: b });
  for (let i = 0; ; i++) {
    one.pushSendFh(openSync('/dev/null', 'r'));
    (await other.receive()).close();
    if (i === 20) parentPort.postMessage('busy');
  }
}
