"""Hands files, opened here, to a process that may not open them itself.

    python3 client.py SOCKET FILE...

SOCKET is a path where an FdChannel server listens. Prints what the server answers to each file.
"""

import sys

from fdp1 import Channel


def main(path, names):
    with Channel.connect(path) as channel:
        for name in names:
            with open(name, "rb") as file:
                channel.send({"name": name}, [file.fileno()], confirm=True)
            with channel.receive() as answer:
                print(answer.value)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
