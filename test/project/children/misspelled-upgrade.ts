/** Serves at the path argv[2], and reports the outcome of an upgrade with an option of the wrong name. */
import { takeover } from 'fdpasser/takeover';

const serving = await takeover(process.argv[2]!);
await serving.ready();
const { message, code } = await serving
  .upgrade({ misspelled: undefined } as object)
  .then(() => ({ message: 'it went', code: '' }))
  .catch((error: NodeJS.ErrnoException) => error);
process.send!({ message, code }, () => process.exit());
