"""Takes over from a server that uses fdpasser/takeover, serves HTTP in its place, and hands over to whoever comes next.

    python3 takeover.py CONTROL NAME

CONTROL is the control path, NAME the listener's name there. docs/takeover.md has the messages, and what each end means.
This program answers each connection at once and closes it, so it has nothing to drain and takes no live connections.
"""

import os
import select
import socket
import sys

from fdp1 import Channel


def hear(channel, *types):
    """The next message, which must be one of these. None when the peer has ended."""
    message = channel.receive()
    if message is not None and message.value["type"] not in types:
        raise RuntimeError(f"{message.value} came, and not {' or '.join(types)}")
    return message


def take_over(control, name):
    """Returns the entry of the listener, its socket, and that of the control path."""
    with Channel.connect(control) as old:
        old.send({"type": "hello", "version": 1, "pid": os.getpid()})
        manifest = hear(old, "manifest", "busy", "refused")
        if manifest is None or manifest.value["type"] != "manifest":
            raise SystemExit(f"nobody hands over: {manifest and manifest.value}")
        listeners = manifest.value["listeners"]
        found = {entry["name"]: (entry, fd) for entry, fd in zip(listeners, manifest.fds)}
        entry, fd = found.pop(name)
        for _, other in found.values():
            os.close(other)
        listener = socket.socket(fileno=fd)
        old.send({"type": "ready"})
        step(old, "commit")
        old.send({"type": "serving", "probation": 0})
        old.send({"type": "confirm", "live": []})
        confirmed = step(old, "confirmed")
        if confirmed is None:  # the old process has died: the path is free
            os.unlink(control)
            path = socket.socket(socket.AF_UNIX)
            path.bind(control)
            os.chmod(control, 0o600)
        else:
            path = socket.socket(fileno=confirmed.fds[0])
        path.listen(511)  # the kernel now reports this process to those who connect
        return entry, listener, path


def step(old, expected):
    """None when the old process has died. Leaves when it serves again."""
    message = hear(old, expected, "rollback")
    if message is not None and message.value["type"] == "rollback":
        raise SystemExit(f"taken back: {message.value['reason']}")
    return message


def hand_over(path, entry, listener):
    """Returns True when a successor has everything. Until it has taken CONFIRMED, any failure leaves all as it was."""
    with Channel(path.accept()[0]) as new:
        try:
            if hear(new, "hello") is None:
                return False
            manifest = {"type": "manifest", "version": 1, "pid": os.getpid(), "listeners": [entry]}
            new.send(manifest, [listener.fileno()], confirm=True)
            # While this waits, it accepts nothing: connections wait in the backlog.
            if hear(new, "ready") is None:
                return False
            new.send({"type": "commit"}, confirm=True)
            if hear(new, "serving") is None or hear(new, "confirm") is None:
                return False
            new.send({"type": "confirmed", "drainTimeout": 0}, [path.fileno()], confirm=True)
        except Exception as error:
            print(f"no successor: {error}", file=sys.stderr)
            try:
                new.send({"type": "rollback", "reason": str(error)})
            except Exception:
                pass  # it has ended
            return False
        try:
            new.send({"type": "bye"})
        except Exception:
            pass  # it needs nothing more
        return True


def answer(listener):
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        if connection.recv(65536):
            body = str(os.getpid()).encode()
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)


def main(control, name):
    entry, listener, path = take_over(control, name)
    print("serves", flush=True)
    while True:
        ready, _, _ = select.select([listener, path], [], [])
        if listener in ready:
            try:
                answer(listener)
            except BlockingIOError:
                pass  # that client has gone
            except OSError as error:
                print(error, file=sys.stderr)
        if path in ready and hand_over(path, entry, listener):
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
