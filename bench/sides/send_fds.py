"""Python's socket.send_fds and recv_fds, which block: `send BATCH`, `receive BATCH`."""

import json
import os
import resource
import socket
import sys
import time

mode, batch = sys.argv[1], int(sys.argv[2])
peer = socket.socket(fileno=3)
null = os.open("/dev/null", os.O_RDONLY)


def send(total):
    for left in range(total, 0, -batch):
        socket.send_fds(peer, [b"\0"], [null] * min(left, batch))


def receive(total):
    while total > 0:
        _, fds, flags, _ = socket.recv_fds(peer, 1, batch)
        if flags & socket.MSG_CTRUNC:
            sys.exit("descriptors were lost")
        for fd in fds:
            os.close(fd)
        total -= len(fds)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round((used.ru_utime + used.ru_stime) * 1e9)


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


for line in sys.stdin:
    before, begin = cpu(), time.monotonic_ns()
    if mode == "receive":
        print("ready", flush=True)
    {"send": send, "receive": receive}[mode](int(line))
    end = time.monotonic_ns()
    print(json.dumps({"begin": begin, "end": end, "cpu": cpu() - before, "peak": peak()}), flush=True)
