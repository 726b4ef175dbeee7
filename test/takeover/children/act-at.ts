import { FdChannel } from 'fdpasser';

type Method = (this: FdChannel, ...args: unknown[]) => Promise<unknown>;

/**
 * Does something once, at a step of a takeover: `'before READY'` and `'after READY'` in the process that sends it, `'at
 * READY'` in the one that receives it.
 */
export function actAt(step: string, act: () => void): void {
  const methods = FdChannel.prototype as unknown as Record<'send' | 'receive', Method>;
  const { send, receive } = methods;
  const [when, wanted] = step.split(' ') as [string, string];
  let done = false;
  const once = (): void => {
    if (done) return;
    done = true;
    act();
  };
  methods.send = function (...args) {
    const due = stepOf(args[0]) === wanted;
    if (due && when === 'before') once();
    const sent = send.apply(this, args);
    // The kernel has it, and nobody may have read it.
    if (due && when === 'after') setImmediate(() => setImmediate(once));
    return sent;
  };
  methods.receive = async function (...args) {
    const message = await receive.apply(this, args);
    if (when === 'at' && stepOf((message as { value: unknown }).value) === wanted) once();
    return message;
  };
}

function stepOf(value: unknown): string {
  return String((value as { type?: unknown }).type).toUpperCase();
}
