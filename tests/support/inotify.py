"""inotify(7) for tests: the kernel's own events, without a library between."""

import ctypes
import os
import select
import struct

IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """Watches files and directories for changes of content."""

    def __init__(self):
        self.fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self.paths = {}

    def watch(self, path):
        number = _libc.inotify_add_watch(self.fd, os.fsencode(path), IN_MODIFY | IN_CLOSE_WRITE)
        if number < 0:
            raise OSError(ctypes.get_errno(), path)
        self.paths[number] = path

    def events(self, wanted, timeout_seconds=5):
        """Until `wanted` events have come and none follows at once: [(path, name, mask)]."""
        found = []
        patience = timeout_seconds
        while select.select([self.fd], [], [], patience)[0]:
            data = os.read(self.fd, 1 << 16)
            while data:
                number, mask, _, size = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + size].rstrip(b"\0").decode()
                found.append((self.paths[number], name, mask))
                data = data[_EVENT.size + size :]
            patience = timeout_seconds if len(found) < wanted else 0.2
        return found

    def close(self):
        os.close(self.fd)
