"""The Python end of test/channel/python-channel.test.ts, over descriptor 3. Does what lines on standard input say."""

import json
import os
import socket
import sys
import threading

sys.path.insert(0, sys.argv[1])
from fdp1 import Channel, Closed, NoReply, NoRequests, ProtocolError

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


def send(value, fds=()):
    try:
        channel.send(value, fds)
        say("sent")
    except (Closed, KeyboardInterrupt) as error:
        say("raised", type(error).__name__)
    except (OSError, TypeError, ValueError) as error:
        say("raised", type(error).__name__, getattr(error, "errno", None))


def take():
    try:
        message = channel.receive()
    except (Closed, ProtocolError, ValueError) as error:
        say("raised", type(error).__name__, str(error))
        return
    if message is None:
        say("ended")
        return
    with message:
        say("took", message.value, identities(message))


def request(value, fds=(), timeout=None):
    try:
        with channel.request(value, fds, timeout) as reply:
            say("replied", reply.value, identities(reply))
    except (Closed, NoReply, NoRequests, TimeoutError) as error:
        say("raised", type(error).__name__)


def serve():
    """Replies to each request with what it brought, the last of every two first, and drops those for nothing."""
    held = []
    for message in channel:
        if message.value == "nothing":
            message.close()
            continue
        held.append(message)
        if len(held) == 2:
            while held:
                with held.pop() as asked:
                    asked.reply(asked.value, asked.fds)
    say("ended")


def opened():
    return {fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")}


threads = []
before = opened() - {3}
options = json.loads(sys.argv[2])
ours = socket.socket(fileno=3)
if "sndbuf" in options:
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.pop("sndbuf"))
channel = Channel(ours, **options)
for line in sys.stdin:
    command, *arguments = json.loads(line)
    if command == "take":
        take()
    elif command == "take later":
        later(take)
        say("waiting")
    elif command == "unread":
        with channel.receive() as message:
            say("unread", message.value, {index: data.decode() for index, data in message.unread.items()})
    elif command == "echo":
        for message in channel:
            with message:
                channel.send(message.value, message.fds, confirm=True)
        say("ended")
    elif command == "request":
        later(request, *arguments)
    elif command == "serve":
        serve()
    elif command == "reply wrongly":
        with channel.receive() as message:
            for value, fds in ("x" * 1000, []), ("bad", [9999]):
                try:
                    message.reply(value, fds)
                except (OSError, ValueError) as error:
                    say("raised", type(error).__name__)
            message.reply("right")
            say("expects", message.expects_reply)
    elif command == "send":
        send(*arguments)
    elif command == "send later":
        later(send, *arguments)
    elif command == "send number":
        send(float(*arguments))
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
