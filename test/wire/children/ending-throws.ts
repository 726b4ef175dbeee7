/** Throws in onError and in each listener of a wire that is destroyed with an error. */
import { FdChannel, FdPasser, socketpair } from 'fdpasser';

process.on('uncaughtException', (error) => console.log(`caught in ${error.message}`));
const fail = (where: string) => (): never => {
  throw new Error(where);
};
const [fh, other] = socketpair();
const onError = fail('onError');
const wire = process.argv[2] === 'passer' ? new FdPasser({ fh, onError }) : new FdChannel(fh, { onError });
wire.on('error', fail('error')).on('close', fail('close'));
const refused = wire.receive().catch((error: Error) => console.log(`refused: ${error.message}`));
wire.destroy(new Error('the reason'));
await Promise.all([refused, wire.close()]);
console.log('closed');
other.close();
process.disconnect();
