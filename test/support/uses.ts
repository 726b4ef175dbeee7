import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, lstatSync, openSync, readdirSync, rmSync, unlinkSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { finished } from 'node:stream/promises';
import { connect, FdPasser, listen, OwnedFd, peerCredentials, sendDatagram, socketpair } from 'fdpasser';
import { encodeTaken } from '#dist/channel/frames.js';
import { address } from '#dist/endpoint/address.js';
import { addon } from '#dist/native/load.js';
import { channelAndPeer } from './channels.js';
import { anonymousFile, identity, until } from './descriptors.js';
import { encodeMessage } from './frames.js';
import { connected, pushFiles, receiveFiles } from './passing.js';
import { noteFiles, streamPair } from './stream.js';

/** One use of the core, other than sending over a wire. */
export interface Use {
  name: string;
  /** Calls `arm`, from which on system calls fail. Returns the outcome in a few words, or throws the error. */
  run(folder: string, arm: () => void): Promise<string> | string;
}

const WORKS = 'works';

/** Distinguishes a path from one that was made there later, because inodes are used again. */
function madeAt(path: string): bigint {
  return lstatSync(path, { bigint: true }).ctimeNs;
}

function closing(...fds: OwnedFd[]): Disposable {
  return {
    [Symbol.dispose]() {
      for (const fd of fds) fd.close();
    },
  };
}

export const USES: readonly Use[] = [
  {
    name: 'socketpair',
    run(_, arm) {
      arm();
      for (const end of socketpair()) end.close();
      return WORKS;
    },
  },
  {
    name: 'new FdPasser',
    run(_, arm) {
      arm();
      new FdPasser().destroy();
      return WORKS;
    },
  },
  {
    name: 'listen',
    run(folder, arm) {
      arm();
      try {
        using server = listen(`${folder}/path`);
        assert.equal(lstatSync(server.path).mode & 0o777, 0o600);
        return WORKS;
      } finally {
        assert.deepEqual(readdirSync(folder), [], 'the path was left behind');
      }
    },
  },
  {
    name: 'listen, where a dead socket is',
    run(folder, arm) {
      const path = `${folder}/path`;
      addon.close(addon.listen(0, address(path, 'bind'), 0o600, 1));
      const dead = madeAt(path);
      arm();
      try {
        using server = listen(path);
        assert.notEqual(madeAt(server.path), dead);
        return WORKS;
      } catch (error) {
        rmSync(`${path}.fdpasser-lock`, { force: true }); // no process has the lock here
        for (const name of readdirSync(folder)) {
          assert.equal(madeAt(`${folder}/${name}`), dead, 'something else was left behind');
          unlinkSync(`${folder}/${name}`);
        }
        throw error;
      }
    },
  },
  {
    name: 'connect',
    async run(folder, arm) {
      using _server = listen(`${folder}/path`);
      arm();
      using _connection = await connect(`${folder}/path`);
      return WORKS;
    },
  },
  {
    name: 'accept',
    async run(folder, arm) {
      using server = listen(`${folder}/path`);
      using client = await connect(server.path);
      arm();
      try {
        using _connection = await server.accept();
        return WORKS;
      } catch (error) {
        using next = await connect(server.path);
        using _connection = await server.accept();
        assert.notEqual(next.fd, client.fd);
        throw error; // the server goes on
      }
    },
  },
  {
    name: 'sendDatagram',
    async run(folder, arm) {
      using server = listen(`${folder}/path`, { type: 'dgram' });
      const receiver = new FdPasser({ fh: await server.accept() });
      const fd = anonymousFile();
      const id = identity(fd);
      try {
        arm();
        const sent = sendDatagram(server.path, Buffer.alloc(1), [fd]).catch((error: unknown) => {
          assert.equal(identity(fd), id, 'not given back');
          closeSync(fd);
          throw error;
        });
        await sent;
        assert.deepEqual(await receiveFiles(receiver, 1), [id]);
        return WORKS;
      } finally {
        receiver.destroy();
      }
    },
  },
  // A failed send of one end does not lose what the kernel holds for that end, while the other end lives.
  {
    name: 'FdPasser, when something has come',
    async run(_, arm) {
      const [one, other] = connected();
      const [there, here] = [anonymousFile(), anonymousFile()];
      const id = identity(there);
      await other.send(there);
      const closed = new Promise<void>((resolve) => one.once('close', resolve));
      arm();
      const failed = assertFails(one.send(here));
      assert.deepEqual(await receiveFiles(one, 1), [id]);
      await closed;
      closeSync(here);
      other.destroy();
      throw await failed;
    },
  },
  {
    name: 'FdStream, when something has come',
    async run(_, arm) {
      const [one, other] = streamPair();
      const file = anonymousFile();
      const id = identity(file);
      await new Promise((written) => other.writeWithFds(Buffer.from('x'), [file], {}, written));
      const came = noteFiles(one);
      const failed = assertFails(finished(one));
      arm();
      one.resume().write('x');
      const error = await failed;
      assert.deepEqual(
        came.map((file) => file.id),
        [id],
      );
      other.destroy();
      throw error;
    },
  },
  {
    name: 'FdChannel, when a confirmation has come',
    async run(_, arm) {
      const [channel, peer] = channelAndPeer();
      peer.hello();
      const confirmed = channel.send('confirm me', [anonymousFile()], { confirm: true });
      await until(() => peer.receive().includes('confirm me'));
      peer.send(Buffer.concat([encodeTaken(1), encodeMessage(Buffer.from('"the last"'), 0, false)[0]!.bytes]));
      const closed = new Promise<void>((resolve) => channel.once('close', resolve));
      arm();
      const failed = assertFails(channel.send('late'));
      await confirmed;
      assert.equal((await channel.receive()).value, 'the last');
      await closed;
      peer.close();
      throw await failed;
    },
  },
  {
    name: 'OwnedFd.kind',
    run(_, arm) {
      using terminal = new OwnedFd(openSync('/dev/ptmx', 'r'));
      const [one, other] = socketpair();
      using _both = closing(one, other);
      arm();
      return [terminal, one].map(({ kind }) => kind).join(', ');
    },
  },
  {
    name: 'OwnedFd.listening',
    run(_, arm) {
      using file = new OwnedFd(anonymousFile());
      arm();
      return `${file.listening}`;
    },
  },
  {
    name: 'OwnedFd.dup',
    run(_, arm) {
      using file = new OwnedFd(anonymousFile());
      arm();
      using copy = file.dup();
      assert.equal(identity(copy.fd), identity(file.fd));
      return WORKS;
    },
  },
  {
    name: 'OwnedFd.close',
    run(_, arm) {
      const file = new OwnedFd(anonymousFile());
      arm();
      file.close();
      return WORKS;
    },
  },
  {
    name: 'new OwnedFd',
    run(_, arm) {
      const fd = anonymousFile();
      arm();
      try {
        new OwnedFd(fd).close();
        return WORKS;
      } catch (error) {
        closeSync(fd);
        throw error;
      }
    },
  },
  {
    name: 'OwnedFd.toSocket',
    async run(_, arm) {
      const [one, other] = socketpair();
      using _both = closing(one, other);
      arm();
      const socket = one.toSocket();
      socket.destroy();
      await once(socket, 'close');
      return WORKS;
    },
  },
  {
    name: 'OwnedFd.toDgram',
    async run(_, arm) {
      const bound = createSocket('udp4').bind(0, '127.0.0.1');
      await once(bound, 'listening');
      const [one, other] = connected();
      const [owned] = await Promise.all([other.receive(), one.send(bound)]);
      one.destroy();
      other.destroy();
      arm();
      try {
        const datagrams = owned.toDgram();
        await once(datagrams, 'listening');
        datagrams.close();
        return WORKS;
      } catch (error) {
        owned.close();
        throw error;
      }
    },
  },
  {
    name: 'peerCredentials',
    run(_, arm) {
      const [one, other] = socketpair();
      using _both = closing(one, other);
      arm();
      assert.equal(peerCredentials(one).pid, process.pid);
      return WORKS;
    },
  },
  {
    name: 'growing the table',
    async run(_, arm) {
      arm();
      const [one, other] = connected();
      assert.deepEqual(pushFiles(one, 6), await receiveFiles(other, 6));
      await Promise.all([one.close(), other.close()]);
      // The thread that grows the table may not have run yet, or could not be started.
      await until(() => addon.tableSlots() >= 4096 || addon.growTable(4096) < 0);
      return WORKS;
    },
  },
];

function assertFails(promise: Promise<void>): Promise<unknown> {
  return promise.then(
    () => assert.fail('did not fail'),
    (error: unknown) => error,
  );
}
