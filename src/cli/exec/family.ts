import { readdirSync, readFileSync } from 'node:fs';
import { attempt } from '../../common/attempt.js';

/** A process and all its descendants. On systems other than Linux: the process alone. */
export function familyOf(pid: number): number[] {
  const family = [pid];
  if (process.platform !== 'linux') return family;
  const parents = parentsOfAll();
  for (const one of family) for (const [child, parent] of parents) if (parent === one) family.push(child);
  return family;
}

/** See /proc/pid/stat in proc(5). */
function parentsOfAll(): Map<number, number> {
  const parents = new Map<number, number>();
  const names: string[] = [];
  attempt(() => names.push(...readdirSync('/proc'))); // no descriptor may be left for it
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // it has ended
    }
  }
  return parents;
}
