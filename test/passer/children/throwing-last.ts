/** The last callback before the passer closes throws. */
import { FdPasser, socketpair } from 'fdpasser';
import { anonymousFile } from '../../support/descriptors.js';
import { pushFiles, receiveFiles, turns } from '../../support/passing.js';

process.on('uncaughtException', () => console.log('caught'));
const [a, b] = socketpair();
const passer = new FdPasser({ fh: a });
passer.once('close', () => console.log('closed'));

if (process.argv[2] === 'sent') {
  passer.pushSendFh(anonymousFile(), () => {
    throw new Error('in sent');
  });
  void passer.close();
} else {
  // The message has two descriptors. The peer ends while the second waits here, and then it is asked for.
  const peer = new FdPasser({ fh: b, batch: 2 });
  pushFiles(peer, 2);
  await peer.close();
  await receiveFiles(passer, 1);
  await turns();
  passer.pushRecvFh((fd) => {
    fd.close();
    throw new Error('in received');
  });
}
