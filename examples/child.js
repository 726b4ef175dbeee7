import { readFileSync } from 'node:fs';
import { FdChannel } from 'fdpasser';

for await (const { value, fds } of FdChannel.inherit()) {
  const [file] = fds;
  const [line] = readFileSync(file.fd, 'utf8').split('\n');
  console.log(`pid ${process.pid} received`, value, `as descriptor ${file.fd}; its first line is: ${line}`);
  file.close();
}
