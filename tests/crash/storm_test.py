"""Kills the daemon again and again under readers, listings, open files and a writer.

Nobody may notice: no error, no wrong byte, no acknowledged write lost. SECRETFS_CRASH_KILLS says
how many kills a storm has (1,000 in the `slow` test).
"""

import hashlib
import http.client
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

from daemon import Daemon, UnixConnection, token

KILLS = int(os.environ.get("SECRETFS_CRASH_KILLS", "60"))
UPGRADES = max(5, KILLS // 20)
READERS = 4
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


class Storm:
    """Readers in processes of their own, and a writer, for as long as the block lasts."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.acknowledged = 0
        self.connection = None

    def __enter__(self):
        command = [sys.executable, "-B", os.path.abspath(__file__)]
        command += ["--read", self.daemon.mountpoint]
        self.readers = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for _ in range(READERS)
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
        for name in "abc":
            self.daemon.put("storm/" + name, value_of(0))
        return Storm(self.daemon)

    def child(self):
        """The daemon's pid, as soon as there is one."""
        while True:
            with open(f"/proc/{self.keeper}/task/{self.keeper}/children", encoding="ascii") as file:
                children = file.read().split()
            if children:
                return int(children[-1])

    def kill_child(self, delay_seconds):
        pid = self.child()
        time.sleep(delay_seconds)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        fd = None
        try:
            fd = os.pidfd_open(pid)
            select.select([fd], [], [], 10)
        except ProcessLookupError:
            pass
        finally:
            if fd is not None:
                os.close(fd)

    def report(self, storm, what):
        stalls = [r["worst"] * 1000 for r in storm.reports]
        reads = sum(r["reads"] for r in storm.reports)
        print(
            f"{what}: {reads} reads, {storm.acknowledged} writes; worst stall of each reader: "
            + ", ".join(f"{s:.0f}" for s in stalls)
            + f" ms (median {statistics.median(stalls):.0f})",
            file=sys.stderr,
        )
        self.assertGreater(reads, 0)
        self.assertLess(max(stalls) / 1000, STALL_SECONDS_MAX)
        self.assertEqual(check(self.daemon.read("storm/a/_value")), storm.acknowledged)
        self.assertIn("intact", self.daemon.run("audit", "--verify")[0].decode())

    def kill_storm(self, kills, *options):
        with self.storm(*options) as storm:
            for kill in range(kills):
                # A secret keeps 100 versions of one day.
                if kill % max(1, kills // 80) == 0:
                    storm.put()
                if kill % 5 == 0:
                    self.daemon.read("_status")  # It serves: ten that never do would end the mount.
                # Seldom before it serves, often while it does, at all moments between.
                self.kill_child((kill * 7919 % 1000) / 1000 * 0.06)
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
                storm.put()
                self.daemon.run("upgrade")
                self.assertEqual(self.daemon.status()["upgrades"], upgrade + 1)
                storm.put()
        self.report(storm, f"{UPGRADES} upgrades")
        self.assertEqual(self.daemon.status()["restarts"], 0)

    def test_kills_before_the_first_answer_of_the_mount(self):
        # The kernel sends INIT once; whoever is killed over it must leave it to a successor.
        for round_number in range(max(3, KILLS // 20)):
            daemon = Daemon()
            self.addCleanup(daemon.close)
            mount = subprocess.Popen(
                [os.environ["SECRETFS_BINARY"], "mount", "-f", "--store", daemon.store]
                + [daemon.mountpoint],
                env=daemon.environment,
                stderr=subprocess.DEVNULL,
            )
            self.keeper = mount.pid
            deadline = time.monotonic() + 20
            while not os.path.ismount(daemon.mountpoint):
                self.assertLess(time.monotonic(), deadline)
                self.assertIsNone(mount.poll(), "the mount ended before it was there")
            for _ in range(3):
                self.kill_child(round_number % 4 * 0.001)
            daemon.put("after", "all")
            self.assertEqual(daemon.read("after/_value"), b"all")
            daemon.run("umount", daemon.mountpoint)
            self.assertEqual(mount.wait(20), 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read_for_ever(sys.argv[2], sys.stdin)
    else:
        unittest.main()
