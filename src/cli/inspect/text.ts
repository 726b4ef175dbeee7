/** The output for people; `--json` is for programs. */
import type { Bound } from './bound.js';
import type { Open, OpenOfProcess } from './open.js';
import type { Process, User } from './process.js';
import type { Socket } from './sockets.js';

export function openText({ open, ...process }: OpenOfProcess): string {
  const lines = open.map((one) => `${`${one.fd}`.padStart(5)}  ${one.kind.padEnd(16)}  ${described(one)}`);
  return [processText(process), ...lines].join('\n');
}

export function boundText(bound: readonly Bound[]): string {
  return bound
    .map(({ kind, listens, user, processes, ...queue }) => {
      const who = user === undefined ? '' : `, made by ${userText(user)}`;
      const held = processes.map((process) => `  ${processText(process)}`);
      if (held.length === 0) held.push('  a process that may not be inspected');
      return [`${kind}, ${listens ? 'listens' : 'is bound'}${who}${queueText(queue)}`, ...held].join('\n');
    })
    .join('\n');
}

function processText({ pid, command, user }: Process): string {
  return `process ${pid} of ${userText(user)}: ${printable(command)}`;
}

function userText({ uid, name }: User): string {
  return name === undefined ? `user ${uid}` : `${name} (${uid})`;
}

function described({ name, socket, peers, descriptors }: Open): string {
  if (socket === undefined) return printable(name);
  const ways = socket.remote === undefined ? printable(name) : `${name} to ${socket.remote}`;
  const state = socket.listens ? ', listens' : socket.state === undefined ? '' : `, ${socket.state}`;
  const peer = peers === undefined ? '' : `, peer ${peers.length === 0 ? 'not visible' : peers.join(', ')}`;
  return `${ways}${state}${peer}${queueText({ ...socket, ...(descriptors === undefined ? {} : { descriptors }) })}`;
}

function queueText(queue: Pick<Socket, 'unread' | 'waiting'> & { descriptors?: number }): string {
  const parts = [
    counted(queue.waiting, 'connection', 'waiting'),
    counted(queue.unread, 'byte', 'unread'),
    counted(queue.descriptors, 'descriptor', 'unread'),
  ];
  return parts.join('');
}

/** Returns nothing for a count of 0. */
function counted(count: number | undefined, noun: string, what: string): string {
  return count === undefined || count === 0 ? '' : `, ${count} ${noun}${count === 1 ? '' : 's'} ${what}`;
}

/** Other users choose these names, and a terminal obeys some characters. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
