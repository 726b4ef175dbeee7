"""
The wire of send_fd and recv_fd in Stevens' "Advanced Programming in the UNIX Environment", which File::FDpasser speaks
too: a descriptor travels with two bytes, a NUL and a status that is 0. The socket is descriptor 3. Prints a line for
each descriptor.

    python3 stevens.py receive|send COUNT
"""

import os
import socket
import sys
import tempfile

role, count = sys.argv[1], int(sys.argv[2])
wire = socket.socket(fileno=3)


def send_fd(fd):
    assert socket.send_fds(wire, [b"\0\0"], [fd]) == 2


def recv_fd():
    """As in the book: a read may bring more than the two bytes, but they must be the last ones, and the status 0."""
    while True:
        data, fds, flags, _ = socket.recv_fds(wire, 4096, 1)
        assert data, "the peer has ended"
        assert not flags & socket.MSG_CTRUNC, flags
        if b"\0" in data:
            assert data.index(b"\0") == len(data) - 2, data
            assert data[-1] == 0, data
            assert len(fds) == 1, fds
            return fds[0]


def tell(fd):
    status = os.fstat(fd)
    print(f"{status.st_dev}:{status.st_ino}")


for _ in range(count):
    if role == "receive":
        fd = recv_fd()
        tell(fd)
        os.close(fd)
    else:
        with tempfile.TemporaryFile() as file:
            tell(file.fileno())
            send_fd(file.fileno())
