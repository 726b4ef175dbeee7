/** A supervisor that does what its parent says, and tells it of what happens. */
import { supervise, type SuperviseOptions } from 'fdpasser/workers';
import { closeAll } from '../../support/descriptors.js';
import { fillTable } from '../../support/fill-table.js';

export interface Supervising {
  file: string;
  options: SuperviseOptions;
  /** At a path all users may connect. */
  listen?: { port: number; host: string } | { path: string };
  /** `pick`: by this expression in the first bytes, else by address. */
  sticky?: string;
  /** `pick`: by the pid that this expression finds in the first bytes. */
  byPid?: string;
}

export type Command = 'reload' | 'close' | 'list' | { scale: number } | { free: number };

const { file, options, listen, sticky, byPid } = JSON.parse(process.argv[2]!) as Supervising;
if (sticky !== undefined) {
  const expression = new RegExp(sticky, 'i');
  options.pick = ({ first, address }) => expression.exec(first!.toString('latin1'))?.[1] ?? address;
}
if (byPid !== undefined) {
  const expression = new RegExp(byPid, 'i');
  options.pick = ({ first }) => Number(expression.exec(first!.toString('latin1'))?.[1]);
}
const workers = supervise(file, options);
const tell = (said: object): void => void process.send!(said);
workers.on('worker', (worker) => tell({ event: 'worker', worker }));
workers.on('exit', (worker, exit) => tell({ event: 'exit', worker, exit }));
workers.on('replaced', () => tell({ event: 'replaced' }));
workers.on('error', ({ message }) => tell({ event: 'error', message }));

async function obey(command: Command): Promise<unknown> {
  if (command === 'reload') return workers.reload();
  if (command === 'list') return workers.list;
  if (command === 'close') return workers.close();
  if ('scale' in command) return workers.scale(command.scale);
  return closeAll(fillTable().slice(0, command.free)); // so many slots are free
}

process.on('message', ({ id, command }: { id: number; command: Command }) => {
  obey(command).then(
    (done) => tell({ id, done }),
    (error: Error) => tell({ id, failed: error.message }),
  );
});
process.channel!.unref(); // it lives as long as its supervisor has something to do

async function begin(where: NonNullable<Supervising['listen']>): Promise<unknown> {
  if ('port' in where) return workers.listen(where);
  return workers.listen(where.path, { mode: 0o777, allow: () => true });
}

if (listen !== undefined) tell({ event: 'listening', at: await begin(listen) });
