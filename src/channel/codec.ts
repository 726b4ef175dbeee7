import { viewOf } from '../common/bytes.js';
import { invalidType, invalidValue } from '../common/arguments.js';
import { builtin } from '../common/lazy-modules.js';

/**
 * How values become bytes. `'json'`: whatever `JSON.stringify` takes, and `undefined`. `'bytes'`: a Buffer or
 * Uint8Array, as it is. `'structured'`: whatever `v8.serialize` takes, for peers that are Node and trusted.
 */
export type Codec = 'json' | 'bytes' | 'structured';

/** A type that was named, or else what a channel has by its codec: `Bytes` where that is `'bytes'`. */
type Carried<T, C extends Codec, Bytes> = [C] extends ['bytes'] ? (unknown extends T ? Bytes : T) : T;

/** What a channel of this codec sends, and receives, where no other types are named. */
export type Sent<T, C extends Codec> = Carried<T, C, Uint8Array>;
export type Received<T, C extends Codec> = Carried<T, C, Buffer>;

interface Coder {
  readonly name: Codec;
  /** What a hello says of it. */
  readonly id: number;
  /** The longest value to receive unless told otherwise: what it takes to decode one stops the event loop. */
  readonly mostBytes: number;
  encode(value: unknown): Buffer;
  /**
   * With `own`, nobody else has the bytes; otherwise they may be overwritten later. Throws when they are not what
   * `encode` makes.
   */
  decode(bytes: Buffer, own: boolean): unknown;
}

const coders: Readonly<Record<Codec, Coder>> = {
  bytes: {
    name: 'bytes',
    id: 0,
    mostBytes: 16 << 20,
    encode: (value) => viewOf('value', value as Uint8Array, "a Buffer or Uint8Array (the codec is 'bytes')"),
    decode: (bytes, own) => (own ? bytes : Buffer.from(bytes)),
  },
  json: {
    name: 'json',
    id: 1,
    mostBytes: 64 << 10,
    encode(value) {
      if (value === undefined) return Buffer.alloc(0);
      const text = JSON.stringify(value) as string | undefined;
      if (text === undefined) throw invalidType('value', "something that JSON has (the codec is 'json')", value);
      return Buffer.from(text);
    },
    decode: (bytes) => (bytes.length === 0 ? undefined : JSON.parse(bytes.toString())),
  },
  structured: {
    name: 'structured',
    id: 2,
    mostBytes: 64 << 10,
    encode: (value) => builtin.v8.serialize(value),
    // Buffers and typed arrays in the value become views of what is deserialized, so that must be the value's own.
    decode: (bytes, own) => builtin.v8.deserialize(own ? bytes : new Uint8Array(bytes)),
  },
};

export function coderOf(codec: Codec): Coder {
  if (!Object.hasOwn(coders, codec)) throw invalidValue('options.codec', "'json', 'bytes' or 'structured'", codec);
  return coders[codec];
}

/** The name of what a hello said, for messages. */
export function codecName(id: number): string {
  return Object.values(coders).find((coder) => coder.id === id)?.name ?? `number ${id}`;
}

export type { Coder };
