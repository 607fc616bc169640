"""Kills the daemon again and again under readers, listings, open files, mappings and a writer.

Nobody may notice: no error, no wrong byte, no acknowledged write lost. SECRETFS_CRASH_KILLS says
how many kills a storm has (1,000 in the `slow` test).
"""

import collections
import hashlib
import http.client
import json
import mmap
import os
import random
import select
import signal
import statistics
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

from daemon import Daemon, UnixConnection, token
from page_cache import cached_pages
from processes import child, wait_for
from ptrace import FollowedProcess

KILLS = int(os.environ.get("SECRETFS_CRASH_KILLS", "60"))
UPGRADES = max(5, KILLS // 20)
READERS = 4  # Of each kind.
# Mapped as the secret "storm/b", which is never changed: several pages, each of them another.
MAPPED_PAGES = 8
# A stall is some ten milliseconds, and whatever a busy machine adds to the start of a daemon, or of
# several that are killed before they serve. This tells it from a hang.
STALL_SECONDS_MAX = 30.0


def value_of(number):
    """A value that proves itself whole."""
    text = f"value {number} " + "x" * (number % 700)
    return json.dumps({"n": number, "text": text, "sha": hashlib.sha256(text.encode()).hexdigest()})


def check(value):
    parsed = json.loads(value)
    if hashlib.sha256(parsed["text"].encode()).hexdigest() != parsed["sha"]:
        raise AssertionError(f"a torn value: {value[:80]!r}")
    return parsed["n"]


def read_for_ever(mountpoint, until_eof_of_stdin):
    """A reader process: prints its worst stall and its reads, or dies of the first thing wrong."""
    path = os.path.join(mountpoint, "storm/a/_value")
    held = os.open(path, os.O_RDONLY)
    held_bytes = os.pread(held, 1 << 17, 0)
    worst, reads, newest = 0.0, 0, 0
    while not select.select([until_eof_of_stdin], [], [], 0)[0]:
        start = time.monotonic()
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            value = file.read(1 << 17)
        worst = max(worst, time.monotonic() - start)
        if len(value) != size:
            raise AssertionError(f"fstat says {size}, read gave {len(value)}")
        number = check(value)
        if number < newest:
            raise AssertionError(f"went back from {newest} to {number}")
        newest = number
        if os.pread(held, 1 << 17, 0) != held_bytes:
            raise AssertionError("an open file changed its version")
        names = set(os.listdir(os.path.join(mountpoint, "storm")))
        if not {"a", "b", "c"} <= names:
            raise AssertionError(f"a listing lost entries: {names}")
        reads += 1
    print(json.dumps({"worst": worst, "reads": reads}))


def mapped_value():
    return "".join(chr(ord("A") + page) * mmap.PAGESIZE for page in range(MAPPED_PAGES))


def map_file(path):
    with open(path, "rb", buffering=0) as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
    # One page at a time, so that pages are read and dropped beside each other.
    mapped.madvise(mmap.MADV_RANDOM)
    return mapped


def read_mapped_for_ever(mountpoint, until_eof_of_stdin):
    """Like read_for_ever(), through mappings; counts the pages that it found dropped, too."""
    path = os.path.join(mountpoint, "storm/b/_value")
    kept = map_file(path)
    expected = mapped_value().encode()
    worst, reads, dropped = 0.0, 0, 0
    while not select.select([until_eof_of_stdin], [], [], 0)[0]:
        missing = MAPPED_PAGES - cached_pages(kept)
        dropped += missing
        start = time.monotonic()
        whole = kept[:]
        with map_file(path) as again:
            whole_again = again[:]
        worst = max(worst, time.monotonic() - start)
        if whole != expected or whole_again != expected:
            raise AssertionError("a mapping shows something else")
        reads += 1
        if missing == 0:
            time.sleep(0.001)  # Nothing happens; the others need the CPU.
    print(json.dumps({"worst": worst, "reads": reads, "dropped": dropped}))


def wait_for_mount(path):
    """Looks as soon as the kernel has it, and asks nothing of it: that would wait for INIT."""
    deadline = time.monotonic() + 20
    with open("/proc/self/mountinfo", "rb", buffering=0) as mounts:
        changed = select.poll()
        changed.register(mounts, select.POLLPRI)
        while not any(line.split()[4] == path.encode() for line in mounts.read().splitlines()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{path} is not mounted")
            changed.poll(1000)
            mounts.seek(0)


def init_state(keeper):
    """Whether the kernel's INIT was saved and was answered (SharedState of fs/shared_state.h)."""
    for fd in os.listdir(f"/proc/{keeper}/fd"):
        path = f"/proc/{keeper}/fd/{fd}"
        if os.readlink(path).startswith("/memfd:secretfs-requests"):
            with open(path, "rb", buffering=0) as memory:
                taken, answered = struct.unpack("<II", os.pread(memory.fileno(), 8, 296))
                return taken != 0, answered != 0
    raise AssertionError("the keeper has no shared state")


class Storm:
    """Readers in processes of their own, and a writer, for as long as the block lasts."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.acknowledged = 0
        self.connection = None

    def __enter__(self):
        command = [sys.executable, "-B", os.path.abspath(__file__)]
        self.readers = [
            subprocess.Popen(
                command + [kind, self.daemon.mountpoint],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for kind in ["--read"] * READERS + ["--read-mapped"] * READERS
        ]
        return self

    def put(self):
        """One write, tried again with the same token until it is acknowledged."""
        number = self.acknowledged + 1
        request = token()
        for _ in range(200):
            if self.connection is None:
                self.connection = UnixConnection(self.daemon.socket)
            try:
                status, body = self.daemon.call(
                    "PutSecretValue",
                    self.connection,
                    SecretId="storm/a",
                    SecretString=value_of(number),
                    ClientRequestToken=request,
                )
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.connection = None
                continue
            if status != 200:
                raise AssertionError(f"put {number}: {status} {body}")
            self.acknowledged = number
            return
        raise AssertionError("200 tries and no acknowledgement")

    def __exit__(self, kind, *_):
        if self.connection is not None:
            self.connection.close()
        self.reports = []
        failures = []
        for reader in self.readers:
            out, err = reader.communicate(timeout=60)
            if reader.returncode != 0:
                failures.append(err.decode(errors="replace")[-600:])
            else:
                self.reports.append(json.loads(out))
        if failures and kind is None:
            raise AssertionError("a reader noticed: " + "\n".join(failures))


class StormTest(unittest.TestCase):
    def storm(self, *options):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)
        self.daemon.mount(*options)
        self.keeper = self.daemon.keeper_pid
        self.daemon.put("storm/a", value_of(0))
        self.daemon.put("storm/b", mapped_value())
        self.daemon.put("storm/c", value_of(0))
        return Storm(self.daemon)

    def find_daemon(self):
        return wait_for(lambda: child(self.keeper, "daemon"), "there is a daemon")

    def kill(self, daemon):
        """SIGKILL for it, and waits until it is gone."""
        # Its keeper alone collects it, so until here the pid is this daemon's.
        process = os.pidfd_open(daemon)
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            self.assertTrue(select.select([process], [], [], 20)[0], f"daemon {daemon} cannot end")
        finally:
            os.close(process)

    def report(self, storm, what):
        stalls = [r["worst"] * 1000 for r in storm.reports]
        mapped = [r for r in storm.reports if "dropped" in r]
        dropped = sum(r["dropped"] for r in mapped)
        reads = sum(r["reads"] for r in storm.reports)
        print(
            f"{what}: {reads} reads, {sum(r['reads'] for r in mapped)} of them mapped, "
            f"{dropped} pages found dropped, {storm.acknowledged} writes; worst stall of each "
            "reader: " + ", ".join(f"{s:.0f}" for s in stalls)
            + f" ms (median {statistics.median(stalls):.0f})",
            file=sys.stderr,
        )
        self.assertTrue(all(r["reads"] > 0 for r in storm.reports))
        self.assertGreater(dropped, 0)
        with map_file(self.daemon.path("storm/b/_value")) as looked_at:
            wait_for(lambda: cached_pages(looked_at) == 0, "no page is left in the page cache")
        self.assertLess(max(stalls) / 1000, STALL_SECONDS_MAX)
        self.assertEqual(check(self.daemon.read("storm/a/_value")), storm.acknowledged)
        self.assertIn("intact", self.daemon.run("audit", "--verify")[0].decode())

    def kill_storm(self, kills, *options):
        with self.storm(*options) as storm:
            for kill in range(kills):
                # A secret keeps 100 versions of one day.
                if kill % -(-kills // 80) == 0:
                    storm.put()
                if kill % 5 == 0:
                    self.daemon.read("_status")  # It serves: ten that never do would end the mount.
                # Seldom before it serves, often while it does, at all moments between.
                daemon = self.find_daemon()
                time.sleep((kill * 7919 % 1000) / 1000 * 0.06)
                self.kill(daemon)
            storm.put()
        self.report(storm, f"{kills} kills {' '.join(options)}")
        self.assertGreater(self.daemon.status()["restarts"], kills // 2)

    def test_nobody_notices_kills(self):
        self.kill_storm(KILLS)

    def test_nobody_notices_kills_where_the_kernel_cannot_resend(self):
        self.kill_storm(KILLS, "--no-resend")

    def test_nobody_notices_upgrades(self):
        with self.storm() as storm:
            for upgrade in range(UPGRADES):
                self.daemon.run("upgrade")
                self.assertEqual(self.daemon.status()["upgrades"], upgrade + 1)
                storm.put()
        self.report(storm, f"{UPGRADES} upgrades")
        self.assertEqual(self.daemon.status()["restarts"], 0)

    def start_keeper(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)
        mount = subprocess.Popen(
            [os.environ["SECRETFS_BINARY"], "mount", "-f", "--store", self.daemon.store]
            + [self.daemon.mountpoint],
            env=self.daemon.environment,
            stderr=subprocess.DEVNULL,
        )
        self.keeper = mount.pid
        return mount

    def check_that_it_serves(self, mount, restarts):
        wait_for_mount(self.daemon.mountpoint)
        os.listdir(self.daemon.mountpoint)
        self.daemon.put("after", "all")
        self.assertEqual(self.daemon.read("after/_value"), b"all")
        self.assertEqual(self.daemon.status()["restarts"], restarts)
        self.daemon.run("umount", self.daemon.mountpoint)
        self.assertEqual(mount.wait(20), 0)

    def kill_inside_init(self, moment):
        mount = self.start_keeper()
        first = self.find_daemon()
        device = f"/proc/{first}/fd/"
        followed = FollowedProcess(first)

        def is_of_device(arguments):
            try:
                return os.readlink(device + str(arguments[0])) == "/dev/fuse"
            except FileNotFoundError:
                return False

        def reads(arguments):
            return is_of_device(arguments) and arguments[2] > 1 << 16

        thread = followed.run_to_call(reads)
        followed.finish_call(thread)
        if moment != "taken":
            followed.release(thread)
            self.assertEqual(followed.run_to_call(is_of_device), thread)
        if moment == "answered":
            followed.finish_call(thread)
        process = os.pidfd_open(first)
        self.addCleanup(os.close, process)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        followed.end()
        state = init_state(self.keeper)
        self.check_that_it_serves(mount, 1)
        return state

    def test_a_kill_inside_the_first_request_leaves_it_to_the_successor(self):
        # The kernel sends INIT once.
        self.assertEqual(self.kill_inside_init("taken"), (False, False))
        self.assertEqual(self.kill_inside_init("saved"), (True, False))
        # The kernel has the answer, and nobody noted that.
        self.assertEqual(self.kill_inside_init("answered"), (True, False))

    def test_kills_around_the_first_answer_of_the_mount(self):
        chooser = random.Random(20261124)
        killed = collections.Counter()
        rounds = max(10, KILLS // 6)
        for round_number in range(rounds):
            mount = self.start_keeper()
            first = self.find_daemon()
            wait_for_mount(self.daemon.mountpoint)
            # The keeper hands the mount to the daemon some milliseconds from here.
            time.sleep(chooser.uniform(0, 0.003) if round_number % 3 else 0)
            self.kill(first)
            killed[init_state(self.keeper)] += 1
            for _ in range(2):
                later = self.find_daemon()
                time.sleep(chooser.uniform(0, 0.05))
                self.kill(later)
                killed[init_state(self.keeper)] += 1
            self.check_that_it_serves(mount, 3)
        print(
            f"{3 * rounds} kills, {killed[False, False] + killed[True, False]} of them before INIT "
            "was answered",
            file=sys.stderr,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read_for_ever(sys.argv[2], sys.stdin)
    elif sys.argv[1:2] == ["--read-mapped"]:
        read_mapped_for_ever(sys.argv[2], sys.stdin)
    else:
        unittest.main()
