import { FdPasser } from 'fdpasser';

process.on('uncaughtException', (error) => console.log(`told: ${error.message}`));
const passer = FdPasser.inherit();
passer.pushRecvFh((fd) => {
  fd.close();
  throw new Error('mine');
});
passer.pushRecvFh((fd) => {
  fd.close();
  console.log('received');
});
console.log('waiting');
