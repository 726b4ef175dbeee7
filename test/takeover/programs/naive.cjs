/** For the controls: what a program without takeover does to be replaced. It closes its servers at SIGTERM. */
const dgram = require('node:dgram');
const net = require('node:net');

for (const [prototype, name] of [
  [net.Server.prototype, 'listen'],
  [dgram.Socket.prototype, 'bind'],
]) {
  const original = prototype[name];
  prototype[name] = function (...args) {
    process.once('SIGTERM', () => {
      this.close(() => process.exit());
      console.log('closes');
    });
    return original.apply(this, args);
  };
}
