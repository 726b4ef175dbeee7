/**
 * Moves live connections from a process to its successor: those of HTTP between two requests, WebSockets between two
 * messages, and those of a program's own protocol. It does not depend on how the two processes talk.
 *
 * The old process makes a `LiveConnections` for each server when it begins to serve, so that nothing is missed. When
 * the successor serves for good:
 *
 *     for await (const { key, kind, state, fd, taken, kept } of live.leave(signal)) {
 *       try {
 *         await channel.send({ type: 'live', name, key, kind, state }, [fd], { confirm: true });
 *       } catch {
 *         kept(); // nobody else has it
 *         continue; // or break, if the channel is closed
 *       }
 *       await channel.send({ type: 'yours', name, key, late: await taken() });
 *     }
 *
 * The new process has a `LiveConnections` for its server of that name, and says `live.adopt(key, kind, fd, state)` and
 * `live.released(key, late)`. When the old one has ended it says `live.orphaned()`.
 *
 * A connection belongs to one process at each instant. From when it is yielded nothing reads from it, writes to it or
 * closes it in the old process; with `taken()` its object ends there, with `kept()` that works as before. Until it is
 * known which of both is true nothing is to be called: a send that has not failed may still be taken. The new process
 * does nothing with it before `released` or `orphaned`: if it dies before the old one knows that it has it, nothing is
 * lost. Several may be under way at once.
 */
export type { Carried } from './carried.js';
export type { Carrier } from './carrier.js';
export { KINDS, LiveConnections, type LiveSettings } from './connections.js';
