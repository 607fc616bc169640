"""What a mount does of itself when a secret changes, for those who watch, poll, map or hold on."""

import ctypes
import errno
import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

from daemon import NOBODY, Daemon, UnixConnection, token
from inotify import IN_CLOSE_WRITE, IN_MODIFY, Watcher, await_announcements
from page_cache import cached_pages
from processes import child, thread, threads, wait_for
from ptrace import HeldThread

BOTH = {IN_MODIFY, IN_CLOSE_WRITE}
ROTATIONS = 1000
# AWS keeps 100 versions at most, and each for a day at least.
PUTS = 90
NOTIFIER_FD = 5  # ToucherFd of mount/toucher.h.
PIDFD_GETFD = 438  # The same on all architectures.

_libc = ctypes.CDLL(None, use_errno=True)


def get_descriptor(pidfd, fd):
    """A duplicate of another process's descriptor."""
    found = _libc.syscall(PIDFD_GETFD, pidfd, fd, 0)
    if found < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return found


def descriptors_of(pid):
    return [int(fd) for fd in os.listdir(f"/proc/{pid}/fd")]


def is_device(pid, fd, path):
    return os.readlink(f"/proc/{pid}/fd/{fd}") == path


def watch(wanted, paths):
    """In a process of its own: prints "ready", and the events as JSON."""
    watcher = Watcher()
    for path in paths:
        watcher.watch(path)
    print("ready", flush=True)
    print(json.dumps(watcher.events(wanted)))


def value_after(rotation):
    """The "n" of the value that is current after so many rotations of the test below."""
    if rotation <= PUTS or rotation == ROTATIONS:
        return rotation
    return PUTS - (rotation + PUTS) % 2  # Labels go to and fro between the last two.


def map_again_and_again(path):
    """Maps a file of a mount that this namespace has for itself; a line asks for each step."""
    fd = os.open(path, os.O_RDONLY)
    print("ready", flush=True)
    while sys.stdin.readline():
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as mapped:
            assert mapped[0] == ord("m")
            print("mapped", flush=True)
            sys.stdin.readline()
            wait_for(lambda mapped=mapped: cached_pages(mapped) == 0, "the page is dropped")
            print("dropped", flush=True)


class Progress:
    """How many rotations were begun and acknowledged, in memory that two processes share."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.begun = ctypes.c_uint64.from_buffer(memory, 0)
        self.acknowledged = ctypes.c_uint64.from_buffer(memory, 8)


def follow_in_namespace(source, directory, how):
    """In a mount namespace of its own: follows a bind mount of one file to the last value.

    `how` is "loop": reads again and again, and each read must give a whole value that was current
    between its begin and its end; or "woken": reads only when an inotify event came. Prints how
    often it read and was woken, as JSON.
    """
    target = os.path.join(directory, "bound-" + how)
    with open(target, "wb"):
        pass
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", source, target], check=True)
    progress = Progress(os.path.join(directory, "progress"))
    watcher = Watcher()
    watcher.watch(target)
    print("ready", flush=True)
    reads, masks, last = 0, {IN_MODIFY: 0, IN_CLOSE_WRITE: 0}, False
    while not last:
        patience = 0 if how == "loop" else 60
        if select.select([watcher.fd], [], [], patience)[0]:
            for _, _, mask in watcher.read():
                masks[mask] += 1
        elif how == "woken":
            raise AssertionError("a change was not announced")
        not_before = progress.acknowledged.value
        with open(target, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            value = file.read(1 << 17)
        not_after = progress.begun.value
        assert len(value) == size, (len(value), size)
        parsed = json.loads(value)
        assert parsed["pad"] == "x" * (parsed["n"] % 300), "a torn value"
        current = {value_after(r) for r in range(not_before, not_after + 1)}
        assert parsed["n"] in current, (parsed["n"], not_before, not_after)
        reads += 1
        last = parsed["n"] == ROTATIONS
    print(json.dumps({"reads": reads, "woken": masks[IN_CLOSE_WRITE]}), flush=True)


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
        await_announcements(d)
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
        await_announcements(d)
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
            await_announcements(d)
            watcher = self.watcher("a/_value")
            pid = d.daemon_pid()
            d.put("a", f"after {number}")
            os.kill(pid, signal.SIGKILL)
            self.assertEqual({mask for _, _, mask in watcher.events(2)}, BOTH)

    def put_over(self, connection, name, value):
        status, body = self.daemon.call(
            "PutSecretValue",
            connection,
            SecretId=name,
            SecretString=value,
            ClientRequestToken=token(),
        )
        self.assertEqual(status, 200, body)

    def wait_for_both(self, watcher, paths):
        """Until each path had both events, in whatever order and however often."""
        seen = {self.daemon.path(path): set() for path in paths}
        deadline = time.monotonic() + 60
        while any(masks != BOTH for masks in seen.values()):
            self.assertLess(time.monotonic(), deadline, "not all watchers were woken")
            for path, _, mask in watcher.events(1, 1):
                seen[path].add(mask)

    def test_what_a_killed_toucher_did_not_get_to_is_announced_by_the_next(self):
        d = self.start()
        names = [f"n/{number}" for number in range(100)]
        for name in names:
            d.put(name, "before")
        files = [f"{name}/{file}" for name in names for file in ("_value", "_version", "_meta")]
        watcher = self.watcher(*files)
        toucher = child(d.keeper_pid, "toucher")
        os.kill(toucher, signal.SIGSTOP)
        with UnixConnection(d.socket) as connection:
            for name in names:
                self.put_over(connection, name, "after")
        os.kill(toucher, signal.SIGKILL)
        self.wait_for_both(watcher, files)

    def test_the_touch_that_a_killed_toucher_was_at_is_done_by_the_next(self):
        d = self.start("[mount]\nreader_threads = 1\n")
        d.put("a", "before")
        files = ["a/_meta", "a/_value", "a/_version"]  # It is at one of them.
        watcher = self.watcher(*files)
        toucher = child(d.keeper_pid, "toucher")

        def its_call():
            with open(f"/proc/{toucher}/syscall", encoding="ascii") as file:
                return file.read().split()[0]

        wait_for(lambda: its_call() != "running", "the toucher waits")
        idle = its_call()
        with HeldThread(thread(d.daemon_pid(), "secretfs-fuse-0")):
            with UnixConnection(d.socket) as connection:
                self.put_over(connection, "a", "after")
            wait_for(lambda: its_call() not in ("running", idle), "the toucher is at the file")
            os.kill(toucher, signal.SIGKILL)
        self.wait_for_both(watcher, files)

    def check_what_the_toucher_holds(self, d):
        toucher = os.pidfd_open(child(d.keeper_pid, "toucher"))
        self.addCleanup(os.close, toucher)
        notifier = get_descriptor(toucher, NOTIFIER_FD)
        self.addCleanup(os.close, notifier)
        keeper = os.pidfd_open(d.keeper_pid)
        self.addCleanup(os.close, keeper)
        (device,) = [
            fd for fd in descriptors_of(d.keeper_pid) if is_device(d.keeper_pid, fd, "/dev/fuse")
        ]
        device = get_descriptor(keeper, device)
        self.addCleanup(os.close, device)
        with self.assertRaises(OSError) as refused:
            os.read(notifier, 1 << 18)
        self.assertEqual(refused.exception.errno, errno.EBADF)
        with HeldThread(thread(d.daemon_pid(), "secretfs-fuse-0")):
            asking = subprocess.Popen(
                d.as_user(d.user) + ["stat", d.path("_status")], stderr=subprocess.DEVNULL
            )
            # Through the daemon's own descriptor the same answer counts: so this can fail.
            request = os.read(device, 1 << 18)
            unique = struct.unpack_from("<IIQ", request)[2]
            answer = struct.pack("<IiQ", 16, -errno.EIO, unique)
            with self.assertRaises(OSError) as refused:
                os.write(notifier, answer)
            self.assertEqual(refused.exception.errno, errno.ENOENT)
            self.assertIsNone(asking.poll())
            os.write(device, answer)
            self.assertEqual(asking.wait(20), 1)

    def test_what_the_toucher_holds_neither_reads_nor_answers_requests(self):
        self.check_what_the_toucher_holds(self.start("[mount]\nreader_threads = 1\n"))

    def test_it_holds_no_more_for_a_mount_of_an_ordinary_user(self):
        d = self.start("[mount]\nreader_threads = 1\n", user=NOBODY)
        self.check_what_the_toucher_holds(d)

    def rotate(self, d, progress):
        with UnixConnection(d.socket) as connection:
            versions = []

            def call(operation, **members):
                progress.begun.value += 1
                status, body = d.call(operation, connection, SecretId="bound", **members)
                self.assertEqual(status, 200, body)
                progress.acknowledged.value += 1

            def put(n):
                versions.append(token())
                value = json.dumps({"n": n, "pad": "x" * (n % 300)})
                call("PutSecretValue", SecretString=value, ClientRequestToken=versions[-1])

            for rotation in range(1, PUTS + 1):
                put(rotation)
            for rotation in range(PUTS + 1, ROTATIONS):
                to = value_after(rotation) - 1
                call(
                    "UpdateSecretVersionStage",
                    VersionStage="AWSCURRENT",
                    RemoveFromVersionId=versions[2 * PUTS - 3 - to],
                    MoveToVersionId=versions[to],
                )
            put(ROTATIONS)

    def test_a_single_file_bind_mount_elsewhere_follows_a_thousand_rotations(self):
        d = self.start()
        d.put("bound", '{"n":0,"pad":""}')
        with open(os.path.join(d.root, "progress"), "wb") as file:
            file.truncate(mmap.PAGESIZE)
        followers = {}
        for how in ("loop", "woken"):
            command = [sys.executable, "-B", os.path.abspath(__file__), "--follow"]
            command += [d.path("bound/_value"), d.root, how]
            followers[how] = subprocess.Popen(
                ["unshare", "-m", *command], stdout=subprocess.PIPE, text=True
            )
            self.addCleanup(followers[how].communicate)
            self.addCleanup(followers[how].kill)
            self.assertEqual(followers[how].stdout.readline(), "ready\n")
        self.rotate(d, Progress(os.path.join(d.root, "progress")))
        for how, follower in followers.items():
            out, _ = follower.communicate(timeout=60)
            self.assertEqual(follower.returncode, 0, how)
            seen = json.loads(out)
            print(f"{ROTATIONS} rotations, {how}: {seen['reads']} reads, {seen['woken']} woken")
            self.assertGreater(seen["woken"], 0)
            self.assertLessEqual(seen["woken"], ROTATIONS + 1)

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
        events = poll.poll(60_000)
        change.join()
        self.assertTrue(events and events[0][1] & select.POLLPRI, events)
        self.assertEqual(os.pread(fd, 100, 0), b"one")
        self.assertEqual(os.fstat(fd).st_size, 3)

    def test_pollers_are_woken_by_the_daemons_successor(self):
        d = self.start()
        d.put("a", "one")
        fd = os.open(d.path("a/_value"), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        self.assertEqual(poll.poll(0), [])
        os.kill(d.daemon_pid(), signal.SIGKILL)
        change = threading.Timer(0.3, lambda: d.put("a", "two"))
        change.start()
        events = poll.poll(60_000)
        change.join()
        self.assertTrue(events and events[0][1] & select.POLLPRI, events)

    def test_poll_knows_outdated_handles_that_another_daemon_opened(self):
        d = self.start()
        first = d.put("a", '{"k":"one"}')
        d.put("b", "stays")
        outdated = ["a/_value", "a/_version", "a/_keys/k", "a/_labels/AWSCURRENT/_value"]
        current = [f"a/_versions/{first}/_value", "b/_value"]
        polls = {}
        for path in outdated + current:
            fd = os.open(d.path(path), os.O_RDONLY)
            self.addCleanup(os.close, fd)
            polls[path] = select.poll()
            polls[path].register(fd, select.POLLPRI)
            self.assertEqual(polls[path].poll(0), [], path)
        d.put("a", '{"k":"two"}')
        for _ in range(2):
            for path in outdated:
                self.assertTrue(polls[path].poll(0), path)
            for path in current:
                self.assertEqual(polls[path].poll(0), [], path)
            with open(d.path("a/_value"), "rb") as anew:
                poll = select.poll()
                poll.register(anew, select.POLLPRI)
                self.assertEqual(poll.poll(0), [])
            os.kill(d.daemon_pid(), signal.SIGKILL)

    def test_what_another_program_writes_to_the_store_is_refused_and_polled(self):
        # Another secretfs is kept out by a lock; LMDB's own tools are not.
        d = self.start()
        d.put("a", "one")
        d.sh(f"mdb_dump -s secrets {d.store} > one")
        d.put("a", "two")
        d.sh(f"mdb_dump -s secrets {d.store} > two")
        fd = os.open(d.path("a/_value"), os.O_RDONLY)
        self.addCleanup(os.close, fd)
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        self.assertEqual(poll.poll(0), [])
        d.sh(f"mdb_load -s secrets -f one {d.store}")
        self.assertTrue(poll.poll(0)[0][1] & select.POLLPRI)
        for read in (lambda: d.read("a/_value"), lambda: os.pread(fd, 10, 0)):
            with self.assertRaises(OSError) as raised:
                read()
            self.assertEqual(raised.exception.errno, errno.EIO)
        self.assertIn("not its newest", d.run("get", "a", code=1)[1])
        d.sh(f"mdb_load -s secrets -f two {d.store}")
        self.assertEqual(d.read("a/_value"), b"two")
        self.assertEqual(poll.poll(0), [])
        self.assertEqual(d.status()["restarts"], 0)

    def mapped(self, path, fd=None):
        """A mapping of a file, of which a look brings in one page at a time."""
        if fd is None:
            fd = os.open(self.daemon.path(path), os.O_RDONLY)
            self.addCleanup(os.close, fd)
        mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
        self.addCleanup(mapped.close)
        mapped.madvise(mmap.MADV_RANDOM)
        return mapped

    def wait_until_dropped(self, mapped):
        wait_for(lambda: cached_pages(mapped) == 0, "no page is in the page cache")

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

    def test_what_is_mapped_in_another_namespace_is_dropped_after_the_unmount_here(self):
        d = self.start()
        d.put("a", "m" * 9000)
        with subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", sys.executable, "-B"]
            + [os.path.abspath(__file__), "--map", d.path("a/_value")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as elsewhere:
            self.assertEqual(elsewhere.stdout.readline(), "ready\n")
            subprocess.run(["umount", d.mountpoint], check=True)
            for word in ("mapped", "dropped", "mapped", "dropped"):
                elsewhere.stdin.write("\n")
                elsewhere.stdin.flush()
                self.assertEqual(elsewhere.stdout.readline(), word + "\n")
        d.wait_for_end()

    def test_what_was_mapped_is_dropped_by_the_successor_of_a_killed_daemon(self):
        d = self.start()
        d.put("a", "m" * 9000)
        mapped = self.mapped("a/_value")
        for _ in range(5):
            daemon = d.daemon_pid()
            self.assertEqual(mapped[0], ord("m"))
            os.kill(daemon, signal.SIGKILL)
            self.wait_until_dropped(mapped)

    def test_a_page_that_is_read_while_it_is_dropped_keeps_no_daemon_from_ending(self):
        d = self.start("[mount]\nreader_threads = 1\n")
        d.put("a", "m" * 4096 + "n" * 4096)
        mapped = self.mapped("a/_value")
        daemon = d.daemon_pid()
        reader = thread(daemon, "secretfs-fuse-0")
        read_second = (
            "import mmap,os,sys; f=os.open(sys.argv[1],os.O_RDONLY); "
            "m=mmap.mmap(f,0,prot=mmap.PROT_READ,flags=mmap.MAP_PRIVATE); "
            "m.madvise(mmap.MADV_RANDOM); print('ready',flush=True); "
            "sys.stdin.read(1); print(chr(m[4096]))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", read_second, d.path("a/_value")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as reading:
            self.assertEqual(reading.stdout.readline(), "ready\n")
            self.assertEqual(mapped[0], ord("m"))
            with HeldThread(reader):
                reading.stdin.write("x")
                reading.stdin.flush()
                family = (daemon, child(d.keeper_pid, "toucher"))
                wait_for(
                    lambda: any(s == "D" for p in family for _, s in threads(p).values()),
                    "the page is being dropped",
                )
                os.kill(daemon, signal.SIGKILL)
            out, _ = reading.communicate(timeout=20)
        self.assertEqual(out, "n\n")
        self.wait_until_dropped(mapped)
        self.assertEqual(d.status()["restarts"], 1)

    def check_that_mapping_is_refused(self, d):
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
        self.assertEqual(cached_pages(self.mapped("a/_value")), 0)

    def test_mapping_can_be_refused_also_by_a_successor(self):
        d = self.start("[mount]\nrefuse_mapping = true\n")
        d.put("a", "value")
        self.check_that_mapping_is_refused(d)
        os.kill(d.daemon_pid(), signal.SIGKILL)
        self.check_that_mapping_is_refused(d)
        d.run("upgrade")
        self.check_that_mapping_is_refused(d)

    def test_an_upgrade_to_refusing_drops_what_was_mapped_before(self):
        d = self.start()
        d.put("a", "value")
        mapped = self.mapped("a/_value")
        self.assertEqual(mapped[:], b"value")
        d.configure("[mount]\nrefuse_mapping = true\n")
        d.run("upgrade")
        self.wait_until_dropped(mapped)
        self.check_that_mapping_is_refused(d)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--follow"]:
        follow_in_namespace(*sys.argv[2:])
    elif sys.argv[1:2] == ["--map"]:
        map_again_and_again(sys.argv[2])
    elif sys.argv[1:2] == ["--watch"]:
        watch(int(sys.argv[2]), sys.argv[3:])
    else:
        unittest.main(verbosity=1)
