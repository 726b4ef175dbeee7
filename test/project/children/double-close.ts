/** Does what no test may do unseen. */
import { closeSync, openSync } from 'node:fs';

const fd = openSync('/dev/null', 'r');
closeSync(fd);
closeSync(fd);
