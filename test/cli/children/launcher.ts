/** Starts its program again whenever that ends, until it is told to end itself: what nodemon and its like do. */
import { spawn, type ChildProcess } from 'node:child_process';

let child: ChildProcess;
let told = false;
const start = (): void => {
  if (told) process.exit(0);
  child = spawn(process.execPath, process.argv.slice(2), { stdio: 'inherit' });
  child.once('exit', start);
};
process.on('SIGTERM', () => {
  told = true;
  child.kill();
});
start();
