/** Replaces app.cjs as a worker of node:cluster: the new one listens before the old one is disconnected. */
const cluster = require('node:cluster');

cluster.setupPrimary({ exec: `${__dirname}/app.cjs` });
let worker = cluster.fork();
worker.once('listening', () => process.send('serves'));
process.on('message', () => {
  const old = worker;
  worker = cluster.fork();
  worker.once('listening', () => {
    old.once('exit', () => process.send('serves'));
    old.disconnect();
  });
});
process.on('disconnect', () => process.exit());
