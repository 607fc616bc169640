"""What a mount does of itself when a secret changes, for those who watch, poll, map or hold on."""

import json
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

from daemon import NOBODY, Daemon, UnixConnection, token
from inotify import IN_CLOSE_WRITE, IN_MODIFY, Watcher
from page_cache import cached_pages

BOTH = {IN_MODIFY, IN_CLOSE_WRITE}
ROTATIONS = 1000
# AWS keeps 100 versions at most, and each for a day at least.
PUTS = 90


def watch(wanted, paths):
    """In a process of its own: prints "ready", and the events as JSON."""
    watcher = Watcher()
    for path in paths:
        watcher.watch(path)
    print("ready", flush=True)
    print(json.dumps(watcher.events(wanted)))


def follow_in_namespace(source, directory):
    """In a mount namespace of its own: reads and watches a bind mount of one file to the end.

    Prints what it saw as JSON. The end is a value that says so.
    """
    target = os.path.join(directory, "bound")
    with open(target, "wb"):
        pass
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", source, target], check=True)
    watcher = Watcher()
    watcher.watch(target)
    print("ready", flush=True)
    reads, newest, woken = 0, -1, 0
    while True:
        if select.select([watcher.fd], [], [], 0)[0]:
            os.read(watcher.fd, 1 << 16)
            woken += 1
        with open(target, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            value = file.read(1 << 17)
        assert len(value) == size, (len(value), size)
        parsed = json.loads(value)
        assert parsed["pad"] == "x" * (parsed["n"] % 300), "a torn value"
        # Labels go to and fro in the end; until then a value that was seen is never undone.
        assert parsed["n"] >= min(newest, PUTS - 1), f"went back from {newest} to {parsed['n']}"
        newest = parsed["n"]
        reads += 1
        if parsed.get("last"):
            break
    # The last change is announced too.
    last = bool(watcher.events(1, 5)) or woken > 0
    print(json.dumps({"reads": reads, "woken": woken, "last": last}), flush=True)


class FollowTest(unittest.TestCase):
    def start(self, config="", **options):
        self.daemon = Daemon(**options)
        self.addCleanup(self.daemon.close)
        self.daemon.configure(config)
        self.daemon.mount()
        return self.daemon

    def watcher(self, *paths):
        watcher = Watcher()
        self.addCleanup(watcher.close)
        for path in paths:
            watcher.watch(self.daemon.path(path))
        return watcher

    def events_of(self, wanted, paths, change):
        """The events that `change()` raises on `paths`, seen by the mount's own user."""
        command = [sys.executable, "-B", os.path.abspath(__file__), "--watch", str(wanted), *paths]
        with subprocess.Popen(
            self.daemon.as_user(self.daemon.user) + command, stdout=subprocess.PIPE, text=True
        ) as watching:
            self.assertEqual(watching.stdout.readline(), "ready\n")
            change()
            return json.loads(watching.communicate(timeout=60)[0])

    def check_events(self, d):
        d.put("prod/db", '{"password":"one"}')
        d.put("prod/other", "untouched")
        files = ["prod/db/_value", "prod/db/_keys/password", "prod/db/_labels/AWSCURRENT/_value"]
        watched = [d.path(p) for p in ["prod/db", "prod/other/_value", "prod/other", *files]]
        events = self.events_of(
            2 * (len(files) + 3), watched, lambda: d.put("prod/db", '{"password":"two"}')
        )
        for path in files:
            masks = [mask for where, _, mask in events if where == d.path(path)]
            self.assertEqual(sorted(masks), sorted(BOTH), path)
        in_directory = {}
        for where, name, mask in events:
            if where == d.path("prod/db"):
                in_directory.setdefault(name, []).append(mask)
        for name in ("_value", "_version", "_meta"):
            self.assertEqual(sorted(in_directory[name]), sorted(BOTH), name)
        self.assertEqual([e for e in events if e[0].startswith(d.path("prod/other"))], [])

    def test_watchers_of_files_and_directories_wake_once_for_a_change(self):
        self.check_events(self.start())

    def test_the_same_for_a_mount_of_an_ordinary_user(self):
        self.check_events(self.start(user=NOBODY))

    def test_a_change_of_metadata_touches_metadata_alone(self):
        d = self.start()
        d.put("a", "value")
        watcher = self.watcher("a")
        with UnixConnection(d.socket) as connection:
            status, _ = d.call(
                "TagResource", connection, SecretId="a", Tags=[{"Key": "k", "Value": "v"}]
            )
        self.assertEqual(status, 200)
        self.assertEqual({name for _, name, _ in watcher.events(2)}, {"_meta"})

    def test_a_change_just_before_the_daemon_dies_is_announced_by_the_next(self):
        d = self.start()
        for number in range(20):
            d.put("a", f"before {number}")
            watcher = self.watcher("a/_value")
            pid = d.daemon_pid()
            d.put("a", f"after {number}")
            os.kill(pid, signal.SIGKILL)
            self.assertEqual({mask for _, _, mask in watcher.events(2)}, BOTH)

    def test_a_single_file_bind_mount_elsewhere_follows_a_thousand_rotations(self):
        d = self.start()
        d.put("bound", '{"n":0,"pad":""}')
        follower = subprocess.Popen(
            ["unshare", "-m", sys.executable, "-B", os.path.abspath(__file__), "--follow"]
            + [d.path("bound/_value"), d.root],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.assertEqual(follower.stdout.readline(), "ready\n")
        with UnixConnection(d.socket) as connection:

            def call(operation, **members):
                status, body = d.call(operation, connection, SecretId="bound", **members)
                self.assertEqual(status, 200, body)

            def put(value):
                versions.append(token())
                text = json.dumps(dict(value, pad="x" * (value["n"] % 300)))
                call("PutSecretValue", SecretString=text, ClientRequestToken=versions[-1])

            versions = []
            for n in range(1, PUTS + 1):
                put({"n": n})
            for n in range(PUTS + 1, ROTATIONS):
                call(
                    "UpdateSecretVersionStage",
                    VersionStage="AWSCURRENT",
                    RemoveFromVersionId=versions[-1 - (n + PUTS + 1) % 2],
                    MoveToVersionId=versions[-1 - (n + PUTS) % 2],
                )
            put({"n": ROTATIONS, "last": True})
        out, _ = follower.communicate(timeout=60)
        self.assertEqual(follower.returncode, 0)
        seen = json.loads(out)
        print(f"{ROTATIONS} rotations: {seen['reads']} reads, woken {seen['woken']} times")
        self.assertTrue(seen["last"])
        self.assertGreater(seen["woken"], 10)

    def test_poll_tells_when_an_open_file_is_outdated(self):
        d = self.start()
        d.put("a", "one")
        fd = os.open(d.path("a/_value"), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        self.assertEqual(poll.poll(0), [])
        change = threading.Timer(0.2, lambda: d.put("a", "two"))
        change.start()
        begin = time.monotonic()
        events = poll.poll(10_000)
        change.join()
        self.assertTrue(events and events[0][1] & select.POLLPRI, events)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(os.pread(fd, 100, 0), b"one")
        self.assertEqual(os.fstat(fd).st_size, 3)

    def test_pollers_are_woken_by_the_daemons_successor(self):
        d = self.start()
        d.put("a", "one")
        fd = os.open(d.path("a/_value"), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        os.kill(d.daemon_pid(), signal.SIGKILL)
        change = threading.Timer(0.3, lambda: d.put("a", "two"))
        change.start()
        self.assertTrue(poll.poll(10_000))
        change.join()

    def wait_until_dropped(self, mapped):
        deadline = time.monotonic() + 5
        while cached_pages(mapped) > 0:
            self.assertLess(time.monotonic(), deadline, "pages stay in the page cache")
            time.sleep(0.05)

    def test_what_was_mapped_or_sent_leaves_the_page_cache(self):
        d = self.start()
        value = "m" * 9000
        d.put("a", value)
        fd = os.open(d.path("a/_value"), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as mapped:
            self.assertEqual(mapped[:].decode(), value)
            self.assertGreater(cached_pages(mapped), 0)
            self.wait_until_dropped(mapped)
            # Whoever goes on reading gets it again.
            self.assertEqual(mapped[:].decode(), value)
        with open(os.devnull, "wb") as out:
            os.sendfile(out.fileno(), fd, 0, 9000)
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as looked_at:
            self.wait_until_dropped(looked_at)

    def test_mapping_can_be_refused(self):
        d = self.start("[mount]\nrefuse_mapping = true\n")
        d.put("a", "value")
        with open(d.path("a/_value"), "rb", buffering=0) as file, open(os.devnull, "wb") as out:
            with self.assertRaises(OSError):
                os.sendfile(out.fileno(), file.fileno(), 0, 5)
            self.assertEqual(file.read(), b"value")
        map_it = (
            "import mmap,sys; f=open(sys.argv[1],'rb',buffering=0); "
            "print(mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ,flags=mmap.MAP_PRIVATE)[:])"
        )
        done = subprocess.run(
            [sys.executable, "-c", map_it, d.path("a/_value")], capture_output=True, check=False
        )
        self.assertEqual(done.returncode, -signal.SIGBUS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--follow"]:
        follow_in_namespace(*sys.argv[2:])
    elif sys.argv[1:2] == ["--watch"]:
        watch(int(sys.argv[2]), sys.argv[3:])
    else:
        unittest.main(verbosity=1)
