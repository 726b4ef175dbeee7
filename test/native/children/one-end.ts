/** One end of a wire whose system calls may fail: sends files, receives as many, and reports the outcome. */
import { anonymousFile, until } from '../../support/descriptors.js';
import { WIRES } from '../../support/wires.js';

const [name, files] = process.argv.slice(2) as [string, string];
const wire = WIRES.find((kind) => kind.name === name)!.open(3);
const sends: string[] = [];
for (let i = 0; i < Number(files); i++)
  void wire.send(anonymousFile()).then(
    () => sends.push('sent'),
    (error: unknown) => sends.push(described(error)),
  );
wire.ask(Number(files));
await until(() => (sends.length === Number(files) && wire.got.length === Number(files)) || wire.end !== undefined);
if (wire.end === undefined) wire.close();
await until(() => wire.end !== undefined && sends.length === Number(files));
const error = wire.end?.error;
process.send!({
  sends,
  got: wire.got.length,
  events: wire.events,
  end: error === undefined ? 'in order' : described(error),
});
process.disconnect();

function described(error: unknown): string {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return [code, syscall].filter(Boolean).join(' ');
}
