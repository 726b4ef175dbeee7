const socket = require('node:dgram').createSocket('udp4');
const { listens, where } = require('./work.cjs');

socket.on('message', (bytes, { port, address }) => socket.send(`${process.pid} ${bytes.toString()}`, port, address));
socket.bind(where.port, where.host, listens);
