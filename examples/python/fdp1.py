"""FDP1, the wire of fdpasser's FdChannel, for Python 3.9 and later on Linux. See docs/protocol.md.

    with Channel.connect("/run/my/socket") as channel:
        with open("log") as file:
            channel.send({"name": "log"}, [file.fileno()], confirm=True)
        for message in channel:
            print(message.value, message.fds)

A thread reads from the socket all the time, as the protocol asks, so any thread may wait in `send` and `receive`. It
gives up when this process's descriptor table is full: the kernel then destroys what it has no room for.

What ends a channel otherwise than in order is raised by `receive`, and is the cause of `Closed`. `send` raises what is
wrong with a message, or what the system has against its beginning, and the channel goes on. Once a part of a message is
on the wire nothing else can follow it, so whatever stops the rest ends the channel.
"""

import array
import collections
import fcntl
import json
import os
import select
import socket
import struct
import threading
import time
import warnings

FRAME_BYTES = 65536
FRAME_FDS = 253
UNREAD_BYTES = 1 << 20  # of a message, beside its value

_HELLO = struct.Struct("<4sBB2xIII")
_HEADER = struct.Struct("<BBHI")
_UINT32 = struct.Struct("<I")
_PART, _TAKEN = 1, 2
_MORE, _UNREAD = 1, 2
_OVERHEAD = 8


class ProtocolError(Exception):
    """The peer broke the protocol."""


class Closed(Exception):
    """The channel has ended, and the message was not sent, or not confirmed."""


def _to_json(value):
    return json.dumps(value, allow_nan=False).encode()


def _from_json(body):
    return json.loads(body.decode(), parse_constant=_no_json) if body else None


def _no_json(name):
    raise ValueError(f"{name} is not JSON")


def _to_bytes(value):
    return bytes(memoryview(value))


CODECS = {"bytes": (0, _to_bytes, bytes), "json": (1, _to_json, _from_json)}


class Message:
    """A value, and descriptors that are the receiver's to close. `unread`: bytes to read first, by index in `fds`."""

    def __init__(self, value, fds, unread):
        self.value = value
        self.fds = fds
        self.unread = unread

    def close(self):
        while self.fds:
            os.close(self.fds.pop())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Channel:
    """One end of a channel, over a connected AF_UNIX stream or seqpacket socket, which it takes over.

    It ends when the peer has not said hello within `hello_timeout` seconds.
    """

    def __init__(self, sock, codec="json", max_message_bytes=16 << 20, max_fds=1024, window=65536, hello_timeout=10):
        self._socket = sock
        self._socket.setblocking(True)
        self._codec, self._encode, self._decode = CODECS[codec]
        self._max_message_bytes = max_message_bytes
        self._max_fds = max_fds
        self._window = window
        self._hello_timeout = hello_timeout

        self._in_order = threading.Lock()  # one message after the other
        self._wire = threading.Lock()  # one frame after the other, and no closing meanwhile
        self._changed = threading.Condition()  # guards what follows
        self._peer = None
        self._untaken = collections.deque()  # size and descriptors of each
        self._sent = 0
        self._taken_there = 0
        self._inbox = collections.deque()  # bodies, descriptors, unread bytes, and what they count
        self._taken = 0
        self._ended = False
        self._error = None

        self._bytes = bytearray()
        self._fds = []
        self._body = bytearray()
        self._body_fds = 0
        self._mid_message = False

        self._socket.sendall(_HELLO.pack(b"FDP1", 1, self._codec, max_message_bytes, max_fds, window))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def connect(cls, path, type=socket.SOCK_STREAM, **options):
        sock = socket.socket(socket.AF_UNIX, type)
        try:
            sock.connect(path)
            return cls(sock, **options)
        except BaseException:
            sock.close()
            raise

    def send(self, value, fds=(), confirm=False):
        """Returns when the kernel has the message, or with `confirm` when the application there has taken it.

        The descriptors stay the caller's. Waits while the peer has a window full of messages that it has not taken.
        """
        body = self._encode(value)
        fds = array.array("i", fds)
        size = len(body) + _OVERHEAD
        with self._in_order:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._peer)
                self._check()
                most_bytes, most_fds, window = self._peer
                if len(body) > most_bytes or len(fds) > most_fds:
                    raise ValueError(f"the peer takes at most {most_bytes} bytes and {most_fds} descriptors")
                self._changed.wait_for(lambda: self._ended or self._fits(size, len(fds), window, most_fds))
                self._check()
                for fd in fds:
                    fcntl.fcntl(fd, fcntl.F_GETFD)  # one that is not open must not stop a message half way
                self._untaken.append((size, len(fds)))
                self._sent += 1
                number = self._sent
            self._send_frames(body, fds)
        if confirm:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._taken_there >= number)
                if self._taken_there < number:
                    raise Closed("the peer went without taking the message") from self._error

    def receive(self):
        """The next message, or None when the peer has ended. One that cannot be read is passed over, with a warning."""
        while True:
            taken = self._take()
            if taken is None:
                return None
            body, fds, unread = taken
            message = Message(None, fds, unread)
            try:
                message.value = self._decode(body)
                return message
            except (ValueError, RecursionError) as error:
                message.close()
                warnings.warn(f"a message came that cannot be read, and was passed over: {error}", stacklevel=2)

    def __iter__(self):
        return iter(self.receive, None)

    def close(self):
        """Ends the channel, also for a thread that sends or receives. What nobody has received is dropped."""
        self._shut_down()
        self._reader.join()
        with self._wire:
            self._socket.close()
        with self._changed:
            while self._inbox:
                for fd in self._inbox.popleft()[1]:
                    os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- sending

    def _check(self):
        if self._ended:
            raise Closed("the channel has ended") from self._error

    def _fits(self, size, fds, window, most_fds):
        if not self._untaken:
            return True
        untaken = [sum(each) for each in zip(*self._untaken)]
        return untaken[0] + size <= window and untaken[1] + fds <= most_fds

    def _send_frames(self, body, fds):
        """Sends a message that is counted. It is not any more when the first system call fails."""
        begun = False
        try:
            for frame, count in _frames(body, len(fds)):
                with self._wire:
                    sent = socket.send_fds(self._socket, [frame], fds[:count]) if count else self._socket.send(frame)
                    begun = True
                    if sent < len(frame):
                        self._socket.sendall(frame[sent:])
                fds = fds[count:]
        except BaseException as error:
            with self._changed:
                ended = self._ended or isinstance(error, (BrokenPipeError, ConnectionResetError))
                if not begun and isinstance(error, OSError):
                    self._untaken.pop()
                    self._sent -= 1
                elif not ended:
                    self._error = Closed("a message could not be sent whole")
                    self._error.__cause__ = error
            if begun or not isinstance(error, OSError):
                self._shut_down()
            if ended:
                raise Closed("the channel has ended") from error
            raise

    def _shut_down(self):
        """Both threads that wait for the socket hear of it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    # ---- receiving

    def _take(self):
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._inbox)
            if not self._inbox:
                if self._error:
                    raise self._error
                return None
            *taken, _ = self._inbox.popleft()
            self._taken += 1
        try:
            with self._wire:  # no later count may overtake this one
                self._socket.sendall(_HEADER.pack(_TAKEN, 0, 0, 4) + _UINT32.pack(self._taken & 0xFFFFFFFF))
        except OSError:
            pass  # it did not wait to hear of it
        return taken

    def _read(self):
        error = None
        try:
            self._await_hello()
            while self._receive_some():
                pass
            if self._bytes or self._mid_message:
                raise ProtocolError("the peer ended in the middle of a message")
        except Exception as caught:
            error = caught
        for fd in self._fds:
            os.close(fd)
        with self._changed:
            self._error = self._error or error
            self._ended = True
            self._changed.notify_all()
        if error:
            self._shut_down()

    def _await_hello(self):
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        deadline = time.monotonic() + self._hello_timeout
        while self._peer is None:
            if not readable.poll(max(0, deadline - time.monotonic()) * 1000):
                raise ProtocolError(f"the peer said no hello within {self._hello_timeout} seconds")
            if not self._receive_some():
                return

    def _receive_some(self):
        """Returns whether there may be more."""
        try:
            return self._receive_once()
        except ConnectionResetError:
            return True  # it went with something unread; what it sent before comes now, and then the end

    def _receive_once(self):
        control = socket.CMSG_SPACE(FRAME_FDS * array.array("i").itemsize)
        data, messages, flags, _ = self._socket.recvmsg(8 + FRAME_BYTES, control, socket.MSG_CMSG_CLOEXEC)
        for level, type, payload in messages:
            if level == socket.SOL_SOCKET and type == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds += fds
        if flags & socket.MSG_CTRUNC:
            raise OSError("no room for the descriptors that came")
        self._bytes += data
        with self._changed:
            while self._parse():
                pass
            self._changed.notify_all()
        if len(self._fds) - self._body_fds > FRAME_FDS:
            raise ProtocolError("descriptors came that no message claims")
        return bool(data)

    def _parse(self):
        """Takes the hello or one frame off the bytes, if there is a whole one."""
        if self._peer is None:
            if len(self._bytes) < _HELLO.size:
                return False
            magic, version, codec, *limits = _HELLO.unpack(self._pop(_HELLO.size))
            if magic != b"FDP1" or version != 1:
                raise ProtocolError("the peer does not speak FDP1, version 1")
            if codec != self._codec:
                raise ProtocolError(f"the peer has codec {codec}, and this end {self._codec}")
            self._peer = limits
            return True
        if len(self._bytes) < _HEADER.size:
            return False
        type, flags, fds, length = _HEADER.unpack_from(self._bytes)
        if type == _TAKEN:
            if (flags, fds, length) != (0, 0, 4):
                raise ProtocolError("a bad TAKEN")
        elif type != _PART or flags & ~(_MORE | _UNREAD) or fds > FRAME_FDS or length > FRAME_BYTES:
            raise ProtocolError("a bad frame")
        elif flags & _MORE and length == 0 and fds == 0:
            raise ProtocolError("a part of a message with nothing in it")
        if len(self._bytes) < _HEADER.size + length:
            return False
        self._pop(_HEADER.size)
        payload = self._pop(length)
        if type == _TAKEN:
            self._confirm(_UINT32.unpack(payload)[0])
        else:
            self._part(payload, flags, fds)
        return True

    def _pop(self, length):
        data = bytes(self._bytes[:length])
        del self._bytes[:length]
        return data

    def _confirm(self, count):
        newly = (count - self._taken_there) & 0xFFFFFFFF
        if newly > len(self._untaken):
            raise ProtocolError("more messages were taken than sent")
        self._taken_there += newly
        for _ in range(newly):
            self._untaken.popleft()

    def _part(self, payload, flags, fds):
        self._body += payload
        self._body_fds += fds
        beside = 4 + 8 * self._max_fds + UNREAD_BYTES if flags & _UNREAD else 0
        if len(self._body) > self._max_message_bytes + beside or self._body_fds > self._max_fds:
            raise ProtocolError("a message larger than was agreed")
        self._mid_message = bool(flags & _MORE)
        if self._mid_message:
            return
        if self._body_fds > len(self._fds):
            raise ProtocolError("fewer descriptors came than the message has")
        size = len(self._body) + _OVERHEAD
        waiting = sum(size for *_, size in self._inbox)
        waiting_fds = sum(len(fds) for _, fds, *_ in self._inbox)
        if self._inbox and (waiting + size > self._window or waiting_fds + self._body_fds > self._max_fds):
            raise ProtocolError("more came than the window allows")
        body, unread = bytes(self._body), {}
        if flags & _UNREAD:
            body, unread = _split(body, self._body_fds)
        fds = self._fds[: self._body_fds]
        del self._fds[: self._body_fds]
        self._inbox.append((body, fds, unread, size))
        self._body = bytearray()
        self._body_fds = 0


def _frames(body, fds):
    """Cuts a message into frames, each with how many descriptors go along."""
    at = 0
    while True:
        payload = body[at : at + FRAME_BYTES]
        count = min(fds, FRAME_FDS)
        at += len(payload)
        fds -= count
        more = at < len(body) or fds > 0
        yield _HEADER.pack(_PART, _MORE if more else 0, count, len(payload)) + payload, count
        if not more:
            return


def _split(body, fds):
    """Parts unread bytes from the value."""
    try:
        (count,) = _UINT32.unpack_from(body)
        if count > fds:
            raise ProtocolError("unread bytes of more descriptors than there are")
        at, last, unread = 4 + 8 * count, -1, {}
        for index, length in struct.iter_unpack("<II", body[4:at]):
            if not last < index < fds or at + length > len(body):
                raise ProtocolError("unread bytes do not add up")
            unread[index] = body[at : at + length]
            at += length
            last = index
    except struct.error as error:
        raise ProtocolError("unread bytes do not add up") from error
    if len(unread) != count or at > len(body):
        raise ProtocolError("unread bytes do not add up")
    return body[at:], unread
