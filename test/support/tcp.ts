import { readFileSync } from 'node:fs';

/** What /proc/net/tcp has of the sockets at a port of 127.0.0.1. See proc_net_tcp(5). */
export function socketsAt(port: number): { state: string; unread: boolean; inode: string }[] {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1] === local)
    .map((fields) => ({ state: fields[3]!, unread: !fields[4]!.endsWith(':00000000'), inode: fields[9]! }));
}
