#!/usr/bin/python3
"""A session's agent that knows file lists, for spice-vdagentd of Debian, whose own session agent does not.

    file_list_agent.py get                    prints the host's list, an item a line
    file_list_agent.py give ITEM...           has this list for the host

The daemon passes clipboards between its port and whoever is the session's agent (its socket: a type, two arguments and
a size of 32 bits each, and the data), without looking at what they are.
"""

import select
import socket
import struct
import sys
import time

RESOLUTION, MONITORS, GRAB, REQUEST, DATA = range(5)
FILE_LIST = 6
SECONDS = 120


def main(what, items):
    daemon = socket.socket(socket.AF_UNIX)
    daemon.connect("/run/spice-vdagentd/spice-vdagent-sock")

    def send(kind, first=0, second=0, data=b""):
        daemon.sendall(struct.pack("<4I", kind, first, second, len(data)) + data)

    def receive(size):
        data = b""
        while len(data) < size:
            piece = daemon.recv(size - len(data))
            if not piece:
                sys.exit("the daemon has hung up")
            data += piece
        return data

    # It opens its port when it knows of a screen.
    send(RESOLUTION, 1024, 768, struct.pack("<5i", 1024, 768, 0, 0, 0))
    end = time.monotonic() + SECONDS
    asked = False
    while time.monotonic() < end:
        if what == "give" and not asked:
            send(GRAB, 0, 0, struct.pack("<I", FILE_LIST))
        if not select.select([daemon], [], [], 3)[0]:
            continue
        kind, _, second, size = struct.unpack("<4I", receive(16))
        data = receive(size)
        if what == "give" and kind == REQUEST and second == FILE_LIST:
            asked = True
            send(DATA, 0, FILE_LIST, b"".join(item.encode() + b"\0" for item in items))
        elif what == "get" and kind == GRAB and FILE_LIST in struct.unpack(f"<{size // 4}I", data):
            send(REQUEST, 0, FILE_LIST)
        elif what == "get" and kind == DATA and second == FILE_LIST:
            print(data.decode().replace("\0", "\n"), end="")
            return


main(sys.argv[1], sys.argv[2:])
