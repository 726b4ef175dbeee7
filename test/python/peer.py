"""The Python end of test/python-channel.test.ts, over descriptor 3. Does what lines on standard input tell it to."""

import json
import os
import socket
import sys
import threading

sys.path.insert(0, sys.argv[1])
from fdp1 import Channel, Closed

sent = 0
lock = threading.Lock()


def say(*words):
    with lock:
        print(json.dumps(words), flush=True)


def identities(message):
    found = []
    for fd in message.fds:
        assert not os.get_inheritable(fd)
        stat = os.fstat(fd)
        found.append(f"{stat.st_dev}:{stat.st_ino}")
    return found


def later(work, *arguments):
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    threads.append(thread)


def flood(count, length):
    global sent
    for i in range(count):
        channel.send(str(i).ljust(length, "x"))
        sent += 1


def confirm(value):
    try:
        channel.send(value, confirm=True)
        say("confirmed", value)
    except Closed:
        say("not confirmed", value)


def opened():
    return {fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")}


threads = []
before = opened() - {3}
channel = Channel(socket.socket(fileno=3), **json.loads(sys.argv[2]))
for line in sys.stdin:
    command, *arguments = json.loads(line)
    if command == "take":
        message = channel.receive()
        if message is None:
            say("ended")
            continue
        with message:
            say("took", message.value, identities(message))
    elif command == "unread":
        with channel.receive() as message:
            say("unread", message.value, {index: data.decode() for index, data in message.unread.items()})
    elif command == "echo":
        for message in channel:
            with message:
                channel.send(message.value, message.fds, confirm=True)
        say("ended")
    elif command == "send":
        channel.send(*arguments)
        say("sent")
    elif command == "flood":
        later(flood, *arguments)
        say("flooding")
    elif command == "sent":
        say(sent)
    elif command == "confirm":
        later(confirm, *arguments)
    elif command == "close":
        channel.close()
        say("closed")
for thread in threads:
    thread.join()
channel.close()
say("left open", sorted(opened() - before))
