/** Closes a number twice, which no test may do without being noticed. */
import { closeSync, openSync } from 'node:fs';

const fd = openSync('/dev/null', 'r');
closeSync(fd);
closeSync(fd);
