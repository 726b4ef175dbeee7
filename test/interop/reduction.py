"""Python's multiprocessing.reduction over descriptor 3. It expects the count of descriptors in the byte beside them."""

import os
import socket
import sys
import tempfile
from multiprocessing import reduction

mode, count = sys.argv[1], int(sys.argv[2])


def say(fd):
    stat = os.fstat(fd)
    print(f"{stat.st_dev}:{stat.st_ino}")


with socket.socket(fileno=3) as sock:
    if mode == "receive":
        for _ in range(count):
            (fd,) = reduction.recvfds(sock, 1)
            say(fd)
            os.close(fd)
        assert sock.recv(1) == b""
    else:
        files = [tempfile.TemporaryFile() for _ in range(count)]
        for file in files:
            say(file.fileno())
            reduction.sendfds(sock, [file.fileno()])
