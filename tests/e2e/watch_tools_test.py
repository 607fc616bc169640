"""The tools that people watch files with see a change of a secret once, and no other file's: on the
mount, and on bind mounts in another mount namespace."""

import os
import select
import signal
import subprocess
import sys
import time
import unittest
from collections import Counter

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

import inotify
from daemon import Daemon
from inotify import await_announcements

# What systemd watches a path itself with (src/core/path.c, flags_table).
SYSTEMD_CHANGED = (
    inotify.IN_DELETE_SELF
    | inotify.IN_MOVE_SELF
    | inotify.IN_ATTRIB
    | inotify.IN_CLOSE_WRITE
    | inotify.IN_CREATE
    | inotify.IN_DELETE
    | inotify.IN_MOVED_FROM
    | inotify.IN_MOVED_TO
)
SYSTEMD_MODIFIED = SYSTEMD_CHANGED | inotify.IN_MODIFY
# And Go's fsnotify (backend_inotify.go), which Kubernetes, Prometheus, Traefik and others use.
FSNOTIFY = (
    inotify.IN_MOVED_TO
    | inotify.IN_MOVED_FROM
    | inotify.IN_CREATE
    | inotify.IN_ATTRIB
    | inotify.IN_MODIFY
    | inotify.IN_MOVE_SELF
    | inotify.IN_DELETE
    | inotify.IN_DELETE_SELF
)

WATCHDOG = """
import sys
from watchdog.events import FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver

class Printer(FileSystemEventHandler):
    def on_any_event(self, event):
        if not event.is_directory:
            print(f"{event.src_path}||{event.event_type}", flush=True)

observer = InotifyObserver()
for path in sys.argv[1:]:
    observer.schedule(Printer(), path)
observer.start()
print("ready", flush=True)
observer.join()
"""

IN_NAMESPACE = """
set -e
mount --make-rprivate /
mount --bind "$1" "$2"
mount --bind "$3" "$4"
mount --bind "$5" "$6"
shift 6
exec "$@"
"""


class Watching:
    """A tool that watches, and the lines that it has printed."""

    def __init__(self, test, command, ready):
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.stdout.close)
        test.addCleanup(self.process.kill)
        self.test = test
        self.lines = []
        self.rest = b""
        self.await_line(lambda line: ready in line)
        self.lines.clear()

    def await_line(self, is_it):
        """Until such a line comes; the others are kept as well."""
        deadline = time.monotonic() + 30
        while True:
            *lines, self.rest = self.rest.split(b"\n")
            lines = [line.decode() for line in lines]
            for index, line in enumerate(lines):
                self.lines.append(line)
                if is_it(line):
                    self.rest = "".join(x + "\n" for x in lines[index + 1 :]).encode() + self.rest
                    return
            patience = deadline - time.monotonic()
            readable = select.select([self.process.stdout], [], [], max(0, patience))[0]
            data = os.read(self.process.stdout.fileno(), 1 << 16) if readable else b""
            self.test.assertTrue(data, f"it does not come; so far: {self.lines}")
            self.rest += data


class WatchToolsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = d = Daemon()
        self.addCleanup(d.close)
        d.mount()
        d.put("prod/db", '{"password":"0"}')
        d.put("prod/other", "unchanged")
        d.put("last", "0")
        await_announcements(d)
        self.puts = 0

    def put_last(self, watching, closed):
        """A change that is announced after all before it (see await_announcements)."""
        for _ in range(2):
            self.daemon.put("last", f"{time.monotonic()}")
            watching.await_line(lambda line: "last/_value|" in line and line.endswith(closed))

    def places(self, in_namespace):
        """(what leads to the files, the directory, one file in it, a file that does not change)"""
        d = self.daemon
        sources = [d.path(p) for p in ("prod/db", "prod/db/_keys/password", "prod/other/_value")]
        if not in_namespace:
            return [], sources
        targets = [os.path.join(d.root, name) for name in ("directory", "file", "other")]
        os.makedirs(targets[0], exist_ok=True)
        for target in targets[1:]:
            with open(target, "wb"):
                pass
        pairs = [path for pair in zip(sources, targets) for path in pair]
        return ["unshare", "-m", "sh", "-c", IN_NAMESPACE, "sh", *pairs], targets

    def check(self, tool, ready, kinds, closed):
        """`tool(paths)` prints "PATH|NAME|KIND" lines, of `kinds` for each change."""
        d = self.daemon
        for in_namespace in (False, True):
            prefix, (directory, file, other) = self.places(in_namespace)
            command = tool([directory, file, other, d.path("last/_value")])
            with self.subTest(in_namespace=in_namespace):
                watching = Watching(self, prefix + command, ready)
                self.puts += 1
                d.put("prod/db", f'{{"password":"{self.puts}"}}')
                self.put_last(watching, closed)
                seen = Counter(
                    (os.path.join(path, name).rstrip("/"), kind)
                    for path, name, kind in (line.split("|") for line in watching.lines)
                    if not path.startswith(d.path("last"))
                )
                changed = [os.path.join(directory, n) for n in ("_value", "_version", "_meta")]
                wanted = Counter((path, kind) for path in [*changed, file] for kind in kinds)
                self.assertEqual(seen, wanted)
                self.check_coalesced(watching, closed, file, kinds)
                watching.process.kill()

    def check_coalesced(self, watching, closed, file, kinds):
        """Many changes in a row: perhaps fewer events, as many of each kind, and the last."""
        watching.lines.clear()
        for _ in range(20):
            self.puts += 1
            self.daemon.put("prod/db", f'{{"password":"{self.puts}"}}')
        self.put_last(watching, closed)
        seen = Counter(
            kind for path, _, kind in (x.split("|") for x in watching.lines) if path == file
        )
        self.assertEqual(set(seen), set(kinds))
        self.assertEqual(len(set(seen.values())), 1, seen)
        self.assertLessEqual(max(seen.values()), 20)

    def raw(self, mask):
        return lambda paths: inotify.command(mask, paths)

    def test_systemd_path_changed(self):
        self.check(self.raw(SYSTEMD_CHANGED), "ready", ["8"], "8")

    def test_systemd_path_modified(self):
        self.check(self.raw(SYSTEMD_MODIFIED), "ready", ["2", "8"], "8")

    def test_fsnotify(self):
        self.check(self.raw(FSNOTIFY), "ready", ["2"], "2")

    def test_inotifywait(self):
        events = "modify,close_write,attrib,move,create,delete,delete_self,move_self"
        self.check(
            lambda paths: ["inotifywait", "-m", "-e", events, "--format", "%w|%f|%e", *paths],
            "Watches established.",
            ["MODIFY", "CLOSE_WRITE,CLOSE"],
            "CLOSE_WRITE,CLOSE",
        )

    def test_watchdog(self):
        self.check(
            lambda paths: ["/usr/bin/python3", "-B", "-c", WATCHDOG, *paths],
            "ready",
            ["modified", "closed"],
            "closed",
        )

    def test_a_daemon_that_dies_keeps_all_watches(self):
        d = self.daemon
        prefix, (directory, file, other) = self.places(in_namespace=True)
        paths = [directory, file, other, d.path("last/_value")]
        watching = Watching(self, prefix + inotify.command(SYSTEMD_MODIFIED, paths), "ready")
        for number in range(5):
            os.kill(d.daemon_pid(), signal.SIGKILL)
            watching.lines.clear()
            d.put("prod/db", f'{{"password":"after {number}"}}')
            self.put_last(watching, "8")
            # A daemon that was killed in the middle may have told a part; here it was idle.
            seen = Counter(line for line in watching.lines if line.startswith(file))
            self.assertEqual(seen, Counter([f"{file}||2", f"{file}||8"]))
            self.assertNotIn(other, "".join(watching.lines))


if __name__ == "__main__":
    unittest.main(verbosity=1)
