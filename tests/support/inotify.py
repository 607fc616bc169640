"""inotify(7) for tests: the kernel's own events, without a library between.

As a program, `inotify.py MASK PATH...` prints "ready", and then each event of the mask as a line
"PATH|NAME|MASK", the masks in hexadecimal.
"""

import ctypes
import os
import select
import struct
import subprocess
import sys

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """Watches files and directories for changes of content."""

    def __init__(self):
        self.fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self.paths = {}

    def watch(self, path, mask=IN_MODIFY | IN_CLOSE_WRITE):
        number = _libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if number < 0:
            raise OSError(ctypes.get_errno(), path)
        self.paths[number] = path

    def read(self):
        """Waits for events and takes those that there are."""
        select.select([self.fd], [], [])
        data = os.read(self.fd, 1 << 16)
        found = []
        while data:
            number, mask, _, size = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + size].rstrip(b"\0").decode()
            found.append((self.paths[number], name, mask))
            data = data[_EVENT.size + size :]
        return found

    def events(self, wanted, timeout_seconds=30):
        """Until `wanted` events have come and none follows at once: [(path, name, mask)]."""
        found = []
        patience = timeout_seconds
        while select.select([self.fd], [], [], patience)[0]:
            found += self.read()
            patience = timeout_seconds if len(found) < wanted else 0.2
        return found

    def close(self):
        os.close(self.fd)


def command(mask, paths):
    return [sys.executable, "-B", os.path.abspath(__file__), f"{mask:x}", *paths]


def await_announcements(daemon):
    """Until the mount has told watchers of everything that was committed before this call.

    Changes are announced in groups, in the order of their commits: what is seen of two groups that
    follow each other on one file, of which the first is not older than the call, says that all
    before the second are through.
    """
    daemon.put("announced", "first")
    watching = daemon.as_user(daemon.user) + command(
        IN_CLOSE_WRITE, [daemon.path("announced/_value")]
    )
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        for value in ("second", "third"):
            daemon.put("announced", value)
            process.stdout.readline()
        process.kill()


if __name__ == "__main__":
    watcher = Watcher()
    for path in sys.argv[2:]:
        watcher.watch(path, int(sys.argv[1], 16))
    print("ready", flush=True)
    while True:
        for path, name, mask in watcher.read():
            print(f"{path}|{name}|{mask:x}", flush=True)
