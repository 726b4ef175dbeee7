/** Receives one datagram at the datagram socket 3, and ends. */
import { OwnedFd, receiveDatagram } from 'fdpasser';

const received = receiveDatagram(new OwnedFd(3));
process.send!('waits', () => process.disconnect());
const { bytes, fds } = await received;
process.stdout.write(`${bytes.toString()} ${fds.length}`);
