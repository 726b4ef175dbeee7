"""A file system (FUSE) that never answers whoever asks for what is in it, at the folder in its argument. Needs root."""

import ctypes
import os
import struct
import sys

place = sys.argv[1].encode()
libc = ctypes.CDLL(None, use_errno=True)
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"hanging", place, b"fuse", 0, options) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
try:
    # struct fuse_in_header of Linux's uapi/linux/fuse.h, and the reply to FUSE_INIT: version 7.31.
    unique = struct.unpack_from("<IIQ", os.read(device, 1 << 17))[2]
    reply = struct.pack("<IIIIHHIIHHIIIIIII", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    os.write(device, struct.pack("<IiQ", 16 + len(reply), 0, unique) + reply)
    print("mounted", flush=True)
    while True:
        os.read(device, 1 << 17)
        print("asked", flush=True)
finally:
    libc.umount2(place, 2)  # MNT_DETACH
