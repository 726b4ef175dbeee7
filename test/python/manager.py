"""A service manager, as systemd is one: it starts a service with descriptors, listens to what it says, keeps what it
stores, and starts it again when it is killed. `python3 manager.py SPEC`, where SPEC is JSON:

    notify    the address of the notify socket
    passed    names of descriptors to pass at first: those that this process has from 3 on
    command   the service
    starts    how many times it is started, at most
    env       what else is in its environment; {pid} stands for its pid
    deaf      whether nothing is taken from the notify socket until a line comes on standard input

Prints a JSON line for each thing that happens: {"started": pid}, {"told": text, "files": [dev:ino]}, {"ended": status}.
"""
import json
import os
import select
import signal
import socket
import sys

spec = json.loads(sys.argv[1])
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(spec["notify"].replace("@", "\0", 1) if spec["notify"].startswith("@") else spec["notify"])
kept = [(name, os.dup(3 + index)) for index, name in enumerate(spec.get("passed", []))]
wake, woken = os.pipe()
os.set_blocking(woken, False)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.set_wakeup_fd(woken)


def say(**what):
    print(json.dumps(what), flush=True)


def start():
    pid = os.fork()
    if pid:
        return pid
    signal.set_wakeup_fd(-1)
    copies = [os.dup(fd) for _, fd in kept]
    high = [os.dup2(fd, 200 + index) for index, fd in enumerate(copies)]
    for index, fd in enumerate(high):
        os.dup2(fd, 3 + index, inheritable=True)
    os.closerange(3 + len(high), 400)
    env = {**os.environ, "NOTIFY_SOCKET": spec["notify"]}
    if kept:
        env |= {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(kept)),
            "LISTEN_FDNAMES": ":".join(name for name, _ in kept),
        }
    for name, value in spec.get("env", {}).items():
        env[name] = value.replace("{pid}", str(os.getpid()))
    os.execvpe(spec["command"][0], spec["command"], env)


def hear():
    data, fds, _, _ = socket.recv_fds(notify, 4096, 253)
    text = data.decode()
    files = [f"{os.fstat(fd).st_dev}:{os.fstat(fd).st_ino}" for fd in fds]
    fields = dict(line.split("=", 1) for line in text.split("\n"))
    if "FDSTORE" in fields:
        kept.extend((fields["FDNAME"], fd) for fd in fds)
    else:
        for fd in fds:
            os.close(fd)
    if "FDSTOREREMOVE" in fields:
        for entry in [entry for entry in kept if entry[0] == fields["FDNAME"]]:
            kept.remove(entry)
            os.close(entry[1])
    say(told=text, files=files)


starts = 1
say(started=start())
heard = [wake] + ([sys.stdin] if spec.get("deaf") else [notify])
while True:
    readable = select.select(heard, [], [])[0]
    if sys.stdin in readable:
        heard = [wake, notify]
    if notify in readable:
        hear()
    elif wake in readable:
        os.read(wake, 1)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            continue
        say(ended=status)
        if starts == spec.get("starts", 1):
            break
        starts += 1
        say(started=start())
