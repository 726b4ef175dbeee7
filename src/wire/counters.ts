import { batch } from '../native/load.js';

/** What went over a wire since the beginning, and how often it had to wait. */
export interface WireStats {
  /** Messages as the kernel took them. If it took one in parts, each part counts. */
  messagesSent: number;
  descriptorsSent: number;
  bytesSent: number;
  messagesReceived: number;
  descriptorsReceived: number;
  bytesReceived: number;
  /** How often sending had to wait: for room at the peer, or until fewer descriptors of this user were in flight. */
  sendWaits: number;
  /** How often this process had no free descriptor slot, or no memory, for what the peer sent. */
  receiveWaits: number;
}

/** The counters of one link. They are plain numbers, because there may be very many links. */
export class Counters implements WireStats {
  messagesSent = 0;
  descriptorsSent = 0;
  bytesSent = 0;
  messagesReceived = 0;
  descriptorsReceived = 0;
  bytesReceived = 0;
  sendWaits = 0;
  receiveWaits = 0;

  /** Counts the first `messages` messages of the batch, of which the last one had `tail` bytes. */
  sent(messages: number, tail: number): void {
    this.messagesSent += messages;
    this.descriptorsSent += sum(batch.count, messages);
    this.bytesSent += sum(batch.size, messages - 1) + tail;
  }

  received(messages: number): void {
    this.messagesReceived += messages;
    this.descriptorsReceived += sum(batch.count, messages);
    this.bytesReceived += sum(batch.size, messages);
  }
}

/** What one call carried. */
export interface Carried {
  messages: number;
  descriptors: number;
  bytes: number;
}

/** Returns what the first messages of the batch carried. Of the last one `tail` bytes were sent. */
export function sentInBatch(messages: number, tail: number): Carried {
  return { messages, descriptors: sum(batch.count, messages), bytes: sum(batch.size, messages - 1) + tail };
}

export function receivedInBatch(messages: number): Carried {
  return { messages, descriptors: sum(batch.count, messages), bytes: sum(batch.size, messages) };
}

/** The sum of the first `length` values. */
function sum(values: Int32Array, length: number): number {
  let total = 0;
  for (let i = 0; i < length; i++) total += values[i]!;
  return total;
}
