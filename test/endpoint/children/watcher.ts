/** Watches for each given path, and reports the mode in which it first sees it; ends when no path is given. */
import { lstatSync } from 'node:fs';

process.on('message', (path: string) => {
  if (path === '') return process.disconnect();
  process.send!('looking');
  for (;;) {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found !== undefined) {
      process.send!(found.mode & 0o777);
      return;
    }
  }
});
