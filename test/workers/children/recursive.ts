/** A supervisor whose workers would be supervisors, too. It tells of their failure. */
import { fileURLToPath } from 'node:url';
import { supervise } from 'fdpasser/workers';

const workers = supervise(fileURLToPath(import.meta.url), { count: 1, register: process.argv[2] === 'register' });
workers.once('error', ({ message }) => {
  process.stdout.write(message);
  void workers.close();
});
