export type { Abortable } from './common/abort.js';
export type { FdLike } from './descriptor/fd-like.js';
export {
  FdChannel,
  type ChannelSendOptions,
  type FdChannelOptions,
  type FdChannelSpawnOptions,
  type RequestOptions,
} from './channel/channel.js';
export { Message } from './channel/message.js';
export type { ReplyOptions } from './channel/question.js';
export type { ChannelStats } from './channel/stats.js';
export type { ChannelEvents } from './channel/session.js';
export type { Codec } from './channel/codec.js';
export { OwnedFd, type OwnedFdOptions } from './descriptor/owned-fd.js';
export type { NodeOwner } from './descriptor/node-object.js';
export type { ConnectionOptions, ReadStreamOptions, SocketOptions, WriteStreamOptions } from './descriptor/to-node.js';
export { connect, type ConnectOptions } from './endpoint/connect.js';
export { sendDatagram, type DatagramOptions } from './wire/datagram.js';
export { receiveDatagram, type Datagram, type ReceiveDatagramOptions } from './wire/datagram-received.js';
export { peerCredentials, type PeerCredentials } from './endpoint/credentials.js';
export { socketpair } from './endpoint/pair.js';
export { fdpasserAccept, fdpasserConnect, fdpasserServer, fdpasserSocketpair } from './endpoint/perl-names.js';
export { listen, type ListenOptions, type TcpListenOptions } from './endpoint/listen.js';
export { FdServer, type AdoptOptions, type ServerOptions } from './endpoint/server.js';
export type { TcpAddress } from './endpoint/tcp-address.js';
export { TcpConnection, type PeekOptions } from './endpoint/tcp-connection.js';
export { TcpServer } from './endpoint/tcp-server.js';
export type { SpawnOptions } from './endpoint/spawn.js';
export type { Kind, SocketType } from './native/kinds.js';
export { FdPasserError, type FdPasserErrorCode } from './errors.js';
export {
  FdStream,
  type FdStreamOptions,
  type FdStreamSpawnOptions,
  type WriteWithFdsOptions,
} from './stream/stream.js';
export type { WireStats } from './wire/counters.js';
export type { SessionEvents } from './wire/link-owner.js';
export {
  FdPasser,
  type FdPasserOptions,
  type FdPasserSpawnOptions,
  type PasserStats,
  type ReceiveManyOptions,
  type SendOptions,
} from './passer/passer.js';
