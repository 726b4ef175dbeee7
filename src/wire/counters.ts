import { batch } from '../native/load.js';

/** What went over a wire since the beginning, and what held it up. */
export interface WireStats {
  /** Messages of the kernel. Of one that it took in parts, each part counts. */
  messagesSent: number;
  descriptorsSent: number;
  bytesSent: number;
  messagesReceived: number;
  descriptorsReceived: number;
  bytesReceived: number;
  /** How often sending had to wait: for room at the peer, or until fewer descriptors were in flight. */
  sendWaits: number;
  /** How often this process had no free descriptor slot, or no memory, for what the peer sent. */
  receiveWaits: number;
}

/** Of one link. Plain numbers, since there may be very many links. */
export class Counters implements WireStats {
  messagesSent = 0;
  descriptorsSent = 0;
  bytesSent = 0;
  messagesReceived = 0;
  descriptorsReceived = 0;
  bytesReceived = 0;
  sendWaits = 0;
  receiveWaits = 0;

  /** So many messages of the batch were sent, and of the last `tail` bytes. */
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

/** What the first messages of the batch are, of which `tail` bytes of the last were sent. */
export function sentInBatch(messages: number, tail: number): Carried {
  return { messages, descriptors: sum(batch.count, messages), bytes: sum(batch.size, messages - 1) + tail };
}

export function receivedInBatch(messages: number): Carried {
  return { messages, descriptors: sum(batch.count, messages), bytes: sum(batch.size, messages) };
}

/** Of the first so many. */
function sum(values: Int32Array, length: number): number {
  let total = 0;
  for (let i = 0; i < length; i++) total += values[i]!;
  return total;
}
