import { EventEmitter } from 'node:events';
import { checkOptions, invalidType, type Names } from '../common/arguments.js';
import { managedElsewhere, notOpen, notOpenNumber, ownedAlready } from '../errors.js';
import { addon } from '../native/load.js';
import { leaving } from './closer.js';
import { nodeObject, type NodeOwner } from './node-object.js';
import { OwnedFd, validNumber } from './owned-fd.js';
import { ownership } from './ownership.js';

/**
 * What can be passed as a descriptor. A number, or an object with a number as `fd`, stands for the descriptor itself:
 * whoever passes it must no longer close it. Objects of Node can be sent, and are then closed in their own way. Any
 * other object that closes its descriptor by itself (an `FdServer`, say) can only be lent, with `keepOpen`.
 */
export type FdLike = number | OwnedFd | { readonly fd: number } | NodeOwner;

const A_DESCRIPTOR = 'a descriptor: a number, an OwnedFd, or an object with fd';

/** The arguments of a constructor. */
export interface Given<Fh, Options> {
  /** What messages call the descriptor. */
  readonly name: string;
  readonly fh: Fh | undefined;
  readonly options: Options;
}

/**
 * Reads the arguments of a constructor: a descriptor and options, or options with the descriptor as `fh`. `names` are
 * the names of the other options.
 */
export function given<Fh, Options extends object>(
  first: Fh | (Options & { fh?: Fh | undefined }) | undefined,
  second: Options | undefined,
  names: Names<Options>,
): Given<Fh, Options> {
  if (second !== undefined || first === undefined || Array.isArray(first) || isMeantAsFd(first)) {
    if (first === undefined && second !== undefined) throw invalidType('fh', A_DESCRIPTOR, first);
    return {
      name: 'fh',
      fh: first as Fh,
      options: checkOptions(second === undefined ? ({} as Options) : second, names),
    };
  }
  const options = first as Options & { fh?: Fh };
  checkOptions<{ fh?: Fh }>(options, { fh: true, ...names });
  return { name: 'options.fh', fh: options.fh, options };
}

/** Whether an argument is meant to be a descriptor, valid or not, rather than an object of options. */
function isMeantAsFd(value: unknown): value is FdLike {
  return typeof value !== 'object' || (value !== null && ('fd' in value || value instanceof EventEmitter));
}

/** Takes a descriptor over. If it throws, the caller still owns it. */
export function takeOver(name: string, fh: FdLike): OwnedFd {
  if (fh instanceof OwnedFd) return fh;
  if (typeof fh === 'object' && fh !== null && ('close' in fh || 'destroy' in fh)) throw managedElsewhere(fh);
  return new OwnedFd(numberIn(name, fh));
}

/** Borrows an open descriptor for one call, and returns its number. The owner stays the same. */
export function borrow(name: string, fh: FdLike): number {
  const fd = fh instanceof OwnedFd && !fh.closed ? ownership.number(fh) : numberIn(name, fh);
  const result = addon.check(fd);
  if (result < 0) throw notOpenNumber(result, fd);
  if (leaving.has(fd)) throw ownedAlready(fd);
  return fd;
}

export function numberIn(name: string, fh: FdLike): number {
  if (typeof fh === 'number') return validNumber(name, fh);
  const node = nodeObject(fh);
  if (node !== undefined) {
    if (node.fd < 0) throw notOpen(node.object);
    return node.fd;
  }
  if (typeof fh !== 'object' || fh === null || !('fd' in fh)) throw invalidType(name, A_DESCRIPTOR, fh);
  return validNumber(`${name}.fd`, fh.fd);
}
