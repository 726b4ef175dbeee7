/**
 * Moves live connections from a process to its successor: those of HTTP between two requests, WebSockets between two
 * messages, and those of a program's own protocol. It knows nothing of how the two processes talk.
 *
 * The old process makes a `LiveConnections` for each server when it begins to serve, so that nothing is missed. When
 * the successor serves for good:
 *
 *     for await (const { kind, state, fd, taken, kept } of live.leave(signal)) {
 *       try {
 *         await channel.send({ type: 'live', name, kind, state }, fd ? [fd] : [], { confirm: true });
 *       } catch {
 *         kept(); // nobody else has it
 *         continue; // or break, if the channel is closed
 *       }
 *       taken();
 *     }
 *
 * The new process has a `LiveConnections` for its server of that name, and says `live.adopt(kind, fd, state)`.
 *
 * A connection belongs to one process at each instant. From when it is yielded nothing reads from it, writes to it or
 * closes it here; with `taken()` its object ends here, with `kept()` that works as before. Until it is known which of
 * both is true nothing is to be called: a send that has not failed may still be taken. Several may be under way at
 * once.
 */
export type { Carried } from './carried.js';
export type { Carrier } from './carrier.js';
export { LiveConnections, type LiveSettings } from './connections.js';
