/**
 * One end of a wire that is killed or stopped at one of its system calls. It sends the files of a folder and writes to
 * `sent` which sends resolved. It takes what comes, and first writes that to `took`. By the next turn a channel has
 * confirmed it, and it writes that to `told`.
 */
import { appendFileSync, openSync } from 'node:fs';
import { identity } from '../../support/descriptors.js';
import { WIRES } from '../../support/wires.js';

process.disconnect();
const [name, folder, sends, receives] = process.argv.slice(2) as [string, string, string, string];
const note = (where: 'sent' | 'took' | 'told', id: string): void => appendFileSync(`${folder}/${where}`, `${id}\n`);

const wire = WIRES.find((kind) => kind.name === name)!.open(3, (id) => {
  note('took', id);
  setImmediate(note, 'told', id);
  if (wire.got.length === Number(receives) - 1) setImmediate(finish);
});
let unsent = Number(sends);
for (let i = 0; i < Number(sends); i++) {
  const fd = openSync(`${folder}/${i}`, 'r');
  const id = identity(fd);
  void wire.send(fd).then(() => {
    note('sent', id);
    unsent--;
    finish();
  });
}
wire.ask(Number(receives));

function finish(): void {
  if (unsent === 0 && wire.got.length === Number(receives)) wire.close();
}
