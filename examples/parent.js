import { openSync } from 'node:fs';
import { FdChannel } from 'fdpasser';

const { channel } = FdChannel.spawn(process.execPath, [`${import.meta.dirname}/child.js`], { stdio: 'inherit' });

const fd = openSync(import.meta.filename, 'r');
console.log(`pid ${process.pid} opened parent.js as descriptor ${fd}`);
await channel.send('parent.js', [fd]); // this also closes it in this process
await channel.close();
