/**
 * Memberships in groups of multicast are the socket's, and several processes share it: one that gets it is in them
 * already, and one that has given it away must not end them.
 */
import type { Socket } from 'node:dgram';
import { replace } from '../../descriptor/node-internals.js';

/** What the system answers to a socket that joins a group which it is in. */
const IS_IN = { addMembership: 'EADDRINUSE', addSourceSpecificMembership: 'EADDRNOTAVAIL' } as const;

/** The program may join groups that the socket is in. */
export function mayJoinAgain(socket: Socket): void {
  for (const [name, code] of Object.entries(IS_IN) as [keyof typeof IS_IN, string][]) {
    const join = socket[name].bind(socket) as (...args: unknown[]) => void;
    replace(socket, name, (...args: unknown[]) => {
      try {
        join(...args);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== code) throw error;
      }
    });
  }
}

/** What the program does no longer ends a membership. */
export function keepMemberships(socket: Socket): void {
  for (const name of ['dropMembership', 'dropSourceSpecificMembership'] as const) replace(socket, name, () => {});
}
