"""
A hostile peer, at descriptor 3: passes what is slow to close.

    python3 slow-to-close.py linger|nested|packet|inotify|fuse|fuse-fifo COUNT

Says "ready" when it has made all, passes them when it reads a line, says "sent", and keeps everything slow until its
standard input ends.
"""

import ctypes, os, socket, struct, sys, tempfile, threading

libc = ctypes.CDLL(None, use_errno=True)
peer = socket.socket(fileno=3)
kept = []  # other ends, which read nothing


def lingering():
    """A connection whose last close waits until the other end has read everything: never."""
    server = socket.create_server(("127.0.0.1", 0))
    connection = socket.create_connection(server.getsockname())
    kept.append(server.accept()[0])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 100_000))
    connection.setblocking(False)
    try:
        while True:
            connection.send(bytes(65536))
    except BlockingIOError:
        return connection.detach()


def nested(inner=[]):
    """A Unix socket in which such a connection lies unread."""
    inner or inner.append(lingering())
    outer, other = socket.socketpair()
    socket.send_fds(other, [b"x"], inner)
    return outer.detach()


def packet():
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300).detach()


def inotify():
    fd = libc.inotify_init1(0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    libc.inotify_add_watch(fd, b"/tmp", 2)
    return fd


def attributes(inode, mode):
    return struct.pack("<6Q10I", inode, 4, 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


MODE = 0o010644 if sys.argv[1] == "fuse-fifo" else 0o100644


def attributes_of(inode):
    return struct.pack("<QII", 0, 0, 0) + attributes(inode, 0o40755 if inode == 1 else MODE)


def reply(device, unique, error, answer):
    try:
        os.write(device, struct.pack("<IiQ", 16 + len(answer), error, unique) + answer)
    except OSError:
        pass  # whoever asked has gone


def mount():
    """
    A file system of our own, with one file or fifo. It does not answer when that is asked for its attributes, or
    flushed, which is at each close.
    """
    device = os.open("/dev/fuse", os.O_RDWR)
    folder = tempfile.mkdtemp()
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
    if libc.mount(b"hostile", folder.encode(), b"fuse.hostile", 0, options):
        raise OSError(ctypes.get_errno(), "mount")

    def serve():
        while True:
            try:
                request = os.read(device, 1 << 18)
            except OSError:
                return  # it is not mounted any more
            _, operation, unique, node = struct.unpack_from("<IIQQ", request)
            answer, error = b"", 0
            if operation in (3, 25) and node == 2 and silent.is_set():  # GETATTR and FLUSH of the file
                unanswered.append((unique, operation))
                continue
            if operation == 26:  # INIT
                answer = struct.pack("<IIIIHHIIHHI", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0) + bytes(28)
            elif operation == 1:  # LOOKUP
                answer = struct.pack("<QQQQII", 2, 0, 0, 0, 0, 0) + attributes(2, MODE)
            elif operation == 14:  # OPEN
                answer = struct.pack("<QII", 1, 0, 0)
            elif operation == 3:  # GETATTR
                answer = attributes_of(node)
            elif operation in (2, 36):  # FORGET
                continue
            else:
                error = -38
            reply(device, unique, error, answer)

    threading.Thread(target=serve, daemon=True).start()
    mounted.append((folder, device))


mounted, unanswered, silent = [], [], threading.Event()


def fuse():
    mounted or mount()
    return os.open(mounted[0][0] + "/file", os.O_RDWR if sys.argv[1] == "fuse-fifo" else os.O_RDONLY)


KINDS = {"linger": lingering, "nested": nested, "packet": packet, "inotify": inotify, "fuse": fuse, "fuse-fifo": fuse}
make = KINDS[sys.argv[1]]
made = [make() for _ in range(int(sys.argv[2]))]
silent.set()
print("ready", flush=True)
sys.stdin.readline()
for fd in made:
    socket.send_fds(peer, [b"\0"], [fd])
print("sent", flush=True)
sys.stdin.read()
# Whoever waits for an answer cannot even be killed, this process among them.
silent.clear()
for folder, device in mounted:
    for unique, operation in unanswered:
        reply(device, unique, 0, attributes_of(2) if operation == 3 else b"")
    for fd in made:
        os.close(fd)
    libc.umount2(folder.encode(), 2)  # MNT_DETACH
    os.rmdir(folder)
os._exit(0)
