import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { FdPasser } from 'fdpasser';

const passer = new FdPasser();
spawn(process.execPath, [`${import.meta.dirname}/child.js`], {
  stdio: ['ignore', 'inherit', 'inherit', passer.peer.fd],
});
passer.iAmParent();

const fd = openSync(import.meta.filename, 'r');
console.log(`pid ${process.pid} opened parent.js as descriptor ${fd}`);
await passer.send(fd); // which also closes it in this process
await passer.close();
