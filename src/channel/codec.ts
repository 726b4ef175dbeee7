import { viewOf } from '../common/bytes.js';
import { invalidType, invalidValue } from '../common/arguments.js';
import { builtin } from '../common/lazy-modules.js';

/**
 * How values become bytes. `'json'`: whatever `JSON.stringify` takes, and `undefined`. `'bytes'`: a Buffer or
 * Uint8Array, unchanged. `'structured'`: whatever `v8.serialize` takes; only for a peer that runs Node and is trusted.
 */
export type Codec = 'json' | 'bytes' | 'structured';

/** The type `T` if one was given. Otherwise, for the codec `'bytes'`, the type `Bytes`. */
type Carried<T, C extends Codec, Bytes> = [C] extends ['bytes'] ? (unknown extends T ? Bytes : T) : T;

/** What a channel with this codec sends and receives if no other types are given. */
export type Sent<T, C extends Codec> = Carried<T, C, Uint8Array>;
export type Received<T, C extends Codec> = Carried<T, C, Buffer>;

interface Coder {
  readonly name: Codec;
  /** Its number in a hello. */
  readonly id: number;
  /** The default of the longest value to receive, in bytes. Decoding a long value blocks the event loop. */
  readonly mostBytes: number;
  encode(value: unknown): Buffer;
  /**
   * With `own`, nobody else has the bytes. Otherwise they may be overwritten later. Throws if the bytes are not what
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
      if (text === undefined)
        throw invalidType('value', "something that JSON can express (the codec is 'json')", value);
      return Buffer.from(text);
    },
    decode: (bytes) => (bytes.length === 0 ? undefined : JSON.parse(bytes.toString())),
  },
  structured: {
    name: 'structured',
    id: 2,
    mostBytes: 64 << 10,
    encode: (value) => builtin.v8.serialize(value),
    // Buffers and typed arrays in the value become views of the memory that is deserialized, so the value needs memory
    // of its own.
    decode: (bytes, own) => builtin.v8.deserialize(own ? bytes : new Uint8Array(bytes)),
  },
};

export function coderOf(codec: Codec): Coder {
  if (!Object.hasOwn(coders, codec)) throw invalidValue('options.codec', "'json', 'bytes' or 'structured'", codec);
  return coders[codec];
}

/** The name of a codec for messages, by its number in a hello. */
export function codecName(id: number): string {
  return Object.values(coders).find((coder) => coder.id === id)?.name ?? `number ${id}`;
}

export type { Coder };
