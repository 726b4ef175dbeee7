import { readFileSync } from 'node:fs';
import { FdPasser } from 'fdpasser';

const passer = FdPasser.inherit(); // what stdio names in its fourth place is descriptor 3 here
for await (const file of passer) {
  const [line] = readFileSync(file.fd, 'utf8').split('\n');
  console.log(`pid ${process.pid} received a ${file.kind} as descriptor ${file.fd}; its first line is: ${line}`);
  file.close();
}
