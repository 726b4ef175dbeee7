/**
 * One end of a wire, to be killed or stopped at one of its system calls. Sends the files of a folder and writes to
 * `sent` which of the sends resolved; takes what comes, and writes that to `took` before anything else. By the next
 * turn a channel has told its peer, and it goes to `told`.
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
