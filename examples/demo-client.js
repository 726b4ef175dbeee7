/** The client of demo.js: connects to the parent and prints the answer, which the child gives. */
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

const connection = connect(Number(process.argv[2]), '127.0.0.1');
const answer = await text(connection);
console.log(`client  pid ${process.pid}: connected to the parent, and got this answer:\n  ${answer}`);
