import * as frames from '#dist/channel/frames.js';

/** A frame in one piece. */
export interface WholeFrame {
  bytes: Buffer;
  fds: number;
}

/** Cuts a message into frames. */
export function encodeMessage(body: Buffer, fds: number, hasUnread: boolean): WholeFrame[] {
  return frames
    .encodeMessage([body], fds, hasUnread ? frames.UNREAD : 0)
    .map(({ pieces, fds }) => ({ bytes: Buffer.concat(pieces), fds }));
}
