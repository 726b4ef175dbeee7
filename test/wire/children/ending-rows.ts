/** Closes the sockets of wires behind their owners. */
import { ENDS_BEHIND, endAs, rows } from '../../support/endings.js';

process.disconnect();
for (const row of rows(ENDS_BEHIND))
  await endAs(row).catch((error: Error) => {
    throw new Error(JSON.stringify(row), { cause: error });
  });
