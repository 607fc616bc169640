#!/usr/bin/python3
"""SIGKILL at random moments while a store gets another root key, to and fro: it always opens with
exactly one of the two, and a command that says it was done was done. $SECRETFS_CRASH_REKEYS sets
the number of rounds of each test (25)."""

import os
import random
import select
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests/support"))
from daemon import Daemon, Failed  # noqa: E402

ROUNDS = int(os.environ.get("SECRETFS_CRASH_REKEYS", "25"))
KEYS = 12  # Of KMS, so that wrapping them takes a moment.


class RekeyTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(secret=("prod/db", "hunter2"))
        self.addCleanup(self.daemon.close)
        for number in range(KEYS):
            self.daemon.run("key", "create", "--alias", f"key{number}")
        self.daemon.put("prod/web", "swordfish", "--kms-key", "key0")
        self.chooser = random.Random(20261125)
        self.current, self.next = self.daemon.key, os.path.join(self.daemon.root, "second-key")
        self.rekey_undisturbed()

    def rekey_undisturbed(self):
        """Also measures how long it takes."""
        began = time.monotonic()
        self.daemon.run("rekey", "--root-key", f"file:{self.next}")
        self.takes = time.monotonic() - began
        self.current, self.next = self.next, self.current

    def assert_serves(self):
        self.assertEqual(self.daemon.read("prod/db", "_value"), b"hunter2")
        self.assertEqual(self.daemon.read("prod/web", "_value"), b"swordfish")

    def start(self):
        return subprocess.Popen(
            [self.daemon.binary, "rekey", "--root-key", f"file:{self.next}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self.daemon.environment,
        )

    def wait_a_while(self, process):
        """A random part of the time that it takes; it may be over before."""
        process_fd = os.pidfd_open(process.pid)
        select.select([process_fd], [], [], self.chooser.uniform(0.0, 1.2 * self.takes))
        os.close(process_fd)

    def opens_with(self, key):
        """Whether the store mounts while `key` is the only one in reach."""
        hidden = {self.current, self.next} - {key}
        for path in hidden:
            os.rename(path, path + ".hidden")
        try:
            where = ("--root-key", f"file:{key}", self.daemon.mountpoint)
            self.daemon.run("mount", *where, code=None)
            try:
                self.daemon.keeper_pid = self.daemon.status()["keeper_pid"]
            except Failed:  # No daemon answers.
                return False
            self.assert_serves()
            self.daemon.run("audit", "--verify")
            self.daemon.unmount()
            return True
        finally:
            for path in hidden:
                os.rename(path + ".hidden", path)

    def settle(self, is_done):
        """Finds out which key it is; `is_done`: what the command said (None: nothing)."""
        with_next, with_current = self.opens_with(self.next), self.opens_with(self.current)
        self.assertNotEqual(with_next, with_current)
        if is_done is not None:
            self.assertEqual(with_next, is_done)
        if with_next:
            self.current, self.next = self.next, self.current
        return with_next

    def test_daemon_is_killed(self):
        """Its successor goes on, and so does the command."""
        killed = 0
        for _ in range(ROUNDS):
            daemon_fd = os.pidfd_open(self.daemon.daemon_pid())
            process = self.start()
            self.wait_a_while(process)
            killed += process.poll() is None
            signal.pidfd_send_signal(daemon_fd, signal.SIGKILL)
            os.close(daemon_fd)
            errors = process.communicate(timeout=60)[1].decode()
            self.assertEqual(process.returncode, 0, errors)
            self.assert_serves()
            self.current, self.next = self.next, self.current
        self.daemon.unmount()
        self.assertFalse(self.opens_with(self.next))
        self.assertTrue(self.opens_with(self.current))
        self.assertGreater(killed, 0)
        print(f"{ROUNDS} daemons killed, {killed} of them before the command ended")

    def test_daemon_and_keeper_are_killed(self):
        gone_over = unanswered = 0
        for _ in range(ROUNDS):
            serving = self.daemon.daemon_pid()
            process = self.start()
            self.wait_a_while(process)
            self.daemon.kill(serving)
            process.communicate(timeout=60)
            # Without an answer nobody knows; or it came to its end without a daemon, by itself.
            unanswered += process.returncode != 0
            gone_over += self.settle(True if process.returncode == 0 else None)
            self.daemon.mount()
        print(f"{ROUNDS} mounts killed, {unanswered} unanswered, {gone_over} stores had gone over")

    def test_command_without_daemon_is_killed(self):
        self.daemon.unmount()
        self.rekey_undisturbed()
        gone_over = unanswered = 0
        for _ in range(ROUNDS):
            process = self.start()
            self.wait_a_while(process)
            process.kill()
            process.communicate(timeout=60)
            self.assertIn(process.returncode, (0, -signal.SIGKILL))
            unanswered += process.returncode != 0
            gone_over += self.settle(True if process.returncode == 0 else None)
        self.assertGreater(unanswered, 0)
        print(f"{ROUNDS} commands, {unanswered} killed, {gone_over} stores had gone over")


if __name__ == "__main__":
    unittest.main(verbosity=1)
