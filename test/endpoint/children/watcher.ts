/** Looks for each path it is told of, and tells the mode in which it first sees it; ends when it is told none. */
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
