/** A process that imports the library, passes one descriptor and ends. */
import { FdPasser, socketpair } from 'fdpasser';

const [sender, receiver] = socketpair().map((fh) => new FdPasser({ fh }));
sender.pushSendFh(1, { keepOpen: true });
receiver.pushRecvFh((fd) => {
  fd.close();
  sender.destroy();
  receiver.destroy();
});
