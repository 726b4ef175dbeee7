import { constants } from 'node:os';
import { invalidType, invalidValue } from '../common/arguments.js';
import { systemError } from '../errors.js';

/** The size of `sun_path` in bytes (unix(7)). */
export const SUN_PATH = ['linux', 'android', 'sunos'].includes(process.platform) ? 108 : 104;

/**
 * Returns the bytes of a socket's name: a path with its NUL, or an abstract name, which starts with a NUL. `syscall` is
 * for the error.
 */
export function address(path: string, syscall: string): Buffer {
  if (typeof path !== 'string') throw invalidType('path', 'a string', path);
  if (path === '' || path === '\0' || (!isAbstract(path) && path.includes('\0')))
    throw invalidValue('path', 'a path, or an abstract name after a NUL', path);
  const name = Buffer.from(isAbstract(path) ? path : `${path}\0`);
  if (name.length > SUN_PATH)
    throw systemError(-constants.errno.ENAMETOOLONG, syscall, {
      path,
      advice: `A socket's name has at most ${SUN_PATH - 1} bytes, and this one has ${name.length - 1}`,
    });
  return name;
}

export function isAbstract(path: string): boolean {
  return path[0] === '\0';
}
