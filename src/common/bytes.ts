import { isUint8Array } from 'node:util/types';
import { invalidType } from './arguments.js';
import { detached } from '../errors.js';

/**
 * A view of a caller's Buffer or Uint8Array, also of one from another realm (a `vm` context, Jest). Throws
 * `ERR_INVALID_ARG_TYPE` for anything else, and `ERR_FDPASSER_DETACHED` when its bytes are there no more.
 */
export function viewOf(name: string, value: Uint8Array, expected = 'a Buffer or Uint8Array'): Buffer {
  if (!isUint8Array(value)) throw invalidType(name, expected, value);
  if (isGone(value)) throw detached();
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** Whether the bytes were transferred elsewhere, or their buffer was made too short for them. */
export function isGone(bytes: Uint8Array): boolean {
  if (bytes.length > 0) return false;
  try {
    keys.call(bytes);
    return false;
  } catch {
    return true;
  }
}

// Looks at the array itself: no property of it tells an empty one from one whose bytes are gone.
// oxlint-disable-next-line typescript/unbound-method -- it is called with an array
const { keys } = Uint8Array.prototype;
