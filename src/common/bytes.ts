import { isUint8Array } from 'node:util/types';
import { invalidType } from './arguments.js';
import { detached } from '../errors.js';

/**
 * Returns a view of a caller's Buffer or Uint8Array, which may come from another realm (a `vm` context, Jest). Throws
 * `ERR_INVALID_ARG_TYPE` for anything else, and `ERR_FDPASSER_DETACHED` if its bytes are no longer there.
 */
export function viewOf(name: string, value: Uint8Array, expected = 'a Buffer or Uint8Array'): Buffer {
  if (!isUint8Array(value)) throw invalidType(name, expected, value);
  if (isGone(value)) throw detached();
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

/** Whether the bytes were transferred elsewhere, or their buffer was made too short to hold them. */
export function isGone(bytes: Uint8Array): boolean {
  if (bytes.length > 0) return false;
  try {
    keys.call(bytes);
    return false;
  } catch {
    return true;
  }
}

// `keys` throws if the bytes are gone. The properties of such an array are the same as those of an empty one.
// oxlint-disable-next-line typescript/unbound-method -- it is called with an array as `this`
const { keys } = Uint8Array.prototype;
