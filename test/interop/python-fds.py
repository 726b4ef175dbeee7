"""Passes descriptors with socket.send_fds and socket.recv_fds over descriptor 3, and prints what each is, a line each.

    python3 python-fds.py receive|send MESSAGES DESCRIPTORS_IN_EACH
"""

import os
import socket
import sys
import tempfile

role, messages, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
wire = socket.socket(fileno=3)


def tell(fd):
    status = os.fstat(fd)
    print(f"{status.st_dev}:{status.st_ino}")


for _ in range(messages):
    if role == "receive":
        data, fds, flags, _ = socket.recv_fds(wire, 64, each)
        assert data == b"\0", data
        assert len(fds) == each, fds
        assert not flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC), flags
        for fd in fds:
            tell(fd)
            os.close(fd)
    else:
        files = [tempfile.TemporaryFile() for _ in range(each)]
        for file in files:
            tell(file.fileno())
        assert socket.send_fds(wire, [b"\0"], [file.fileno() for file in files]) == 1
        for file in files:
            file.close()
