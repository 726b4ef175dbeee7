"""FDP1, the wire of fdpasser's FdChannel, for Python 3.9 and later on Linux. See docs/protocol.md.

    with Channel.connect("/run/my/socket") as channel:
        with open("log") as file:
            channel.send({"name": "log"}, [file.fileno()], confirm=True)
        for message in channel:
            print(message.value, message.fds)
        with channel.request({"open": "log"}, timeout=5) as reply:
            print(reply.value, reply.fds)

Whoever is asked calls `message.reply(value, fds)`, or closes the message, which tells the asker that there is no reply.

A thread reads from the socket all the time, as the protocol asks, so any thread may wait in `send` and `receive`. It
gives up when this process's descriptor table is full: the kernel then destroys what it has no room for.

What ends a channel otherwise than in order is raised by `receive`, and is the cause of `Closed`. `send` raises what is
wrong with a message, or what the system has against its beginning, and the channel goes on. Once a part of a message is
on the wire nothing else can follow it, so whatever stops the rest ends the channel.
"""

import array
import collections
import errno
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
UNREAD_BYTES = 1 << 20  # the most unread bytes of a message, in addition to its value

_HELLO = struct.Struct("<4sBBHIII")
_HEADER = struct.Struct("<BBHI")
_UINT32 = struct.Struct("<I")
_PART, _TAKEN, _DECLINED = 1, 2, 3
_MORE, _UNREAD, _REQUEST, _REPLY = 1, 2, 4, 8
_REQUESTS = 1  # capabilities, in addition to version 1
_OVERHEAD = 8
_ABANDONED = object()
_GONE = (errno.EPIPE, errno.ECONNRESET)


class ProtocolError(Exception):
    """The peer broke the protocol."""


class Closed(Exception):
    """The channel has ended, and the message was not sent, or not confirmed."""


class NoReply(Exception):
    """The peer has dropped a request without a reply."""


class NoRequests(Exception):
    """The peer takes no requests."""


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

    def __init__(self, value, fds, unread, channel=None, request=None):
        self.value = value
        self.fds = fds
        self.unread = unread
        self._channel = channel
        self._request = request  # its number, until it is answered

    @property
    def expects_reply(self):
        return self._request is not None

    def reply(self, value, fds=()):
        """Replies to a request, once. The descriptors stay the caller's. One that is refused can be given otherwise."""
        if self._request is None:
            raise ValueError("this message asks for no reply, or has it")
        self._channel._reply(self._request, value, fds)
        self._request = None

    def close(self):
        """Closes the descriptors. The asker of a request without a reply hears that there is none."""
        if self._request is not None:
            self._channel._decline(self._request)
            self._request = None
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

        self._in_order = threading.Lock()  # messages wait for the window one after the other
        self._whole = threading.Lock()  # no part of a message comes between those of another
        self._wire = threading.Lock()  # frames go one after the other, and the socket is not closed meanwhile
        self._changed = threading.Condition()  # guards what follows
        self._peer = None
        self._capabilities = 0
        self._untaken = collections.deque()  # size and descriptors of each
        self._sent = 0
        self._taken_there = 0
        self._inbox = collections.deque()  # bodies, descriptors, unread bytes, and what they count
        self._taken = 0
        self._requests = {}  # from number to None, the reply, NoReply, or _ABANDONED
        self._next_request = 0
        self._ended = False
        self._error = None

        self._bytes = bytearray()
        self._fds = []
        self._body = bytearray()
        self._body_fds = 0
        self._mid_message = False

        self._socket.sendall(_HELLO.pack(b"FDP1", 1, self._codec, _REQUESTS, max_message_bytes, max_fds, window))
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
        number = self._send(self._encode(value), array.array("i", fds))
        if confirm:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._taken_there >= number)
                if self._taken_there < number:
                    raise Closed("the peer went without taking the message") from self._error

    def request(self, value, fds=(), timeout=None):
        """Returns the reply, a message. Raises NoReply, NoRequests, Closed, or after `timeout` seconds TimeoutError.

        The descriptors stay the caller's. The time begins when the kernel has the request. A later reply is closed.
        """
        body, fds = self._encode(value), array.array("i", fds)
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._peer)
            self._check()
            if not self._capabilities & _REQUESTS:
                raise NoRequests("the peer takes no requests")
            while self._next_request in self._requests:
                self._next_request = (self._next_request + 1) & 0xFFFFFFFF
            number = self._next_request
            self._requests[number] = None
        try:
            self._send(body, fds, _REQUEST, number)
        except BaseException:
            self._requests.pop(number, None)
            raise
        with self._changed:
            answered = lambda: self._ended or self._requests[number] is not None
            if not self._changed.wait_for(answered, timeout):
                self._requests[number] = _ABANDONED
                raise TimeoutError(f"there was no reply within {timeout} seconds")
            reply = self._requests.pop(number)
        if reply is None:
            raise Closed("the peer went without a reply") from self._error
        if isinstance(reply, NoReply):
            raise reply
        body, fds, unread = reply
        message = Message(None, fds, unread)
        try:
            message.value = self._decode(body)
        except BaseException:
            message.close()
            raise
        return message

    def receive(self):
        """The next message, or None when the peer has ended. One that cannot be read is passed over, with a warning."""
        while True:
            taken = self._take()
            if taken is None:
                return None
            body, fds, unread, request = taken
            message = Message(None, fds, unread, self, request)
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
            left = [*self._inbox, *(reply for reply in self._requests.values() if isinstance(reply, tuple))]
            self._inbox.clear()
            self._requests.clear()
        for _, fds, *_ in left:
            for fd in fds:
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

    def _send(self, body, fds, flag=0, number=None):
        """Sends a message when the peer has room for it, and returns how many that are. `body` has no number yet."""
        with self._in_order:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._peer)
                self._check()
                self._check_size(body, fds)
                body = _numbered(body, number)
                size = len(body) + _OVERHEAD
                most_fds, window = self._peer[1:]
                self._changed.wait_for(lambda: self._ended or self._fits(size, len(fds), window, most_fds))
                self._check()
                _check_open(fds)
            with self._whole:
                with self._changed:
                    self._untaken.append((size, len(fds)))
                    self._sent += 1
                    count = self._sent
                self._send_frames(body, fds, flag)
        return count

    def _reply(self, number, value, fds):
        """A reply waits for no window, and can be sent although the peer has ended its own direction."""
        body, fds = self._encode(value), array.array("i", fds)
        with self._changed:
            if self._error:
                raise Closed("the channel has ended") from self._error
            self._check_size(body, fds)
            _check_open(fds)
        with self._whole:
            self._send_frames(_numbered(body, number), fds, _REPLY)

    def _decline(self, number):
        try:
            with self._wire:
                self._socket.sendall(_HEADER.pack(_DECLINED, 0, 0, 4) + _UINT32.pack(number))
        except OSError:
            pass  # the peer did not wait for this

    def _check_size(self, body, fds):
        most_bytes, most_fds, _ = self._peer
        if len(body) > most_bytes or len(fds) > most_fds:
            raise ValueError(f"the peer takes at most {most_bytes} bytes and {most_fds} descriptors")

    def _send_frames(self, body, fds, flag):
        """Sends a message, which is counted unless it is a reply. If the first system call fails, it is not counted."""
        begun = False
        try:
            for frame, count in _frames(body, len(fds), flag):
                with self._wire:
                    sent = socket.send_fds(self._socket, [frame], fds[:count]) if count else self._socket.send(frame)
                    begun = True
                    if sent < len(frame):
                        self._socket.sendall(frame[sent:])
                fds = fds[count:]
        except BaseException as error:
            with self._changed:
                gone = isinstance(error, OSError) and error.errno in _GONE
                ended = gone or (self._ended and flag != _REPLY)
                if not begun and isinstance(error, OSError):
                    if flag != _REPLY:
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
            body, fds, unread, request, _ = self._inbox.popleft()
            self._taken += 1
        try:
            with self._wire:  # a later count must not overtake this one
                self._socket.sendall(_HEADER.pack(_TAKEN, 0, 0, 4) + _UINT32.pack(self._taken & 0xFFFFFFFF))
        except OSError:
            pass  # the peer did not wait for this
        return body, fds, unread, request

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
            return True  # the peer ended with something unread; what it sent before comes now, and then the end

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
            magic, version, codec, self._capabilities, *limits = _HELLO.unpack(self._pop(_HELLO.size))
            if magic != b"FDP1" or version != 1:
                raise ProtocolError("the peer does not speak FDP1, version 1")
            if codec != self._codec:
                raise ProtocolError(f"the peer has codec {codec}, and this end {self._codec}")
            self._peer = limits
            return True
        if len(self._bytes) < _HEADER.size:
            return False
        type, flags, fds, length = _HEADER.unpack_from(self._bytes)
        if type in (_TAKEN, _DECLINED):
            if (flags, fds, length) != (0, 0, 4):
                raise ProtocolError("a bad TAKEN or DECLINED")
        elif type != _PART or flags & ~(_MORE | _UNREAD | _REQUEST | _REPLY) or fds > FRAME_FDS or length > FRAME_BYTES:
            raise ProtocolError("a bad frame")
        elif flags & _MORE and length == 0 and fds == 0:
            raise ProtocolError("a part of a message with nothing in it")
        if len(self._bytes) < _HEADER.size + length:
            return False
        self._pop(_HEADER.size)
        payload = self._pop(length)
        if type == _TAKEN:
            self._confirm(_UINT32.unpack(payload)[0])
        elif type == _DECLINED:
            self._answer(_UINT32.unpack(payload)[0], NoReply("the peer has dropped the request without a reply"))
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
        if flags & (_REQUEST | _REPLY):
            beside += 4
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
        over = waiting + size > self._window or waiting_fds + self._body_fds > self._max_fds
        if self._inbox and over and not flags & _REPLY:
            raise ProtocolError("more came than the window allows")
        body, number, unread = bytes(self._body), None, {}
        if flags & (_REQUEST | _REPLY):
            if flags & _REQUEST and flags & _REPLY or len(body) < 4:
                raise ProtocolError("a bad request or reply")
            number, body = _UINT32.unpack_from(body)[0], body[4:]
        if flags & _UNREAD:
            body, unread = _split(body, self._body_fds)
        fds = self._fds[: self._body_fds]
        del self._fds[: self._body_fds]
        self._body = bytearray()
        self._body_fds = 0
        if flags & _REPLY:
            self._answer(number, (body, fds, unread))
        else:
            self._inbox.append((body, fds, unread, number, size))

    def _answer(self, number, answer):
        """A request is answered once. Nobody has use for the answer to one that nobody waits for any more."""
        if number in self._requests and self._requests[number] is None:
            self._requests[number] = answer
            return
        for fd in answer[1] if isinstance(answer, tuple) else ():
            os.close(fd)
        if self._requests.pop(number, None) is not _ABANDONED:
            raise ProtocolError("an answer to no request")


def _check_open(fds):
    for fd in fds:
        fcntl.fcntl(fd, fcntl.F_GETFD)  # a number that is not open must not stop a message halfway


def _numbered(body, number):
    return body if number is None else _UINT32.pack(number) + body


def _frames(body, fds, flag):
    """Cuts a message into frames, each with how many descriptors go along."""
    at = 0
    while True:
        payload = body[at : at + FRAME_BYTES]
        count = min(fds, FRAME_FDS)
        at += len(payload)
        fds -= count
        more = at < len(body) or fds > 0
        yield _HEADER.pack(_PART, flag | (_MORE if more else 0), count, len(payload)) + payload, count
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
