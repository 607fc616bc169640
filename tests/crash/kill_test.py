#!/usr/bin/python3
"""SIGKILL at random moments while four writers put: what was acknowledged is there, the label rules
hold, the audit chain verifies. $SECRETFS_CRASH_ROUNDS sets the number of rounds (200)."""

import os
import random
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests/support"))
from daemon import Daemon, UnixConnection, token  # noqa: E402

ROUNDS = int(os.environ.get("SECRETFS_CRASH_ROUNDS", "200"))
WRITERS = 4


class Writer(threading.Thread):
    """Puts version after version of a secret of its own until the daemon goes away."""

    def __init__(self, daemon, name):
        super().__init__()
        self.daemon_under_test = daemon
        self.secret = name
        self.acknowledged = []
        self.attempted = None  # Sent, not answered: may be there or not.
        self.refused = None

    def run(self):
        connection = UnixConnection(self.daemon_under_test.socket)
        try:
            self.write_over(connection)
        finally:
            connection.close()

    def write_over(self, connection):
        operation, member = "CreateSecret", "Name"
        while len(self.acknowledged) < 90:  # The quota of young versions is 100.
            self.attempted = token()
            try:
                status, body = self.daemon_under_test.call(
                    operation,
                    connection,
                    ClientRequestToken=self.attempted,
                    SecretString=f"value {self.attempted}",
                    **{member: self.secret},
                )
            except (OSError, ValueError, ConnectionError):
                return
            except Exception as error:  # http.client's own errors of a broken connection.
                if type(error).__module__ != "http.client":
                    raise
                return
            if status != 200:
                self.refused = body
                return
            self.acknowledged.append(self.attempted)
            self.attempted = None
            operation, member = "PutSecretValue", "SecretId"


class KillTest(unittest.TestCase):
    def check(self, daemon, writer):
        self.assertIsNone(writer.refused)
        connection = UnixConnection(daemon.socket)
        try:
            self.check_over(connection, daemon, writer)
        finally:
            connection.close()

    def check_over(self, connection, daemon, writer):
        if not writer.acknowledged:
            return
        for version in writer.acknowledged:
            status, body = daemon.call(
                "GetSecretValue", connection, SecretId=writer.secret, VersionId=version
            )
            self.assertEqual((status, body.get("SecretString")), (200, f"value {version}"))
        status, body = daemon.call(
            "ListSecretVersionIds",
            connection,
            SecretId=writer.secret,
            IncludeDeprecated=True,
            MaxResults=100,
        )
        self.assertEqual(status, 200)
        versions = [entry["VersionId"] for entry in body["Versions"]]
        expected = list(writer.acknowledged)
        if writer.attempted in versions:
            expected.append(writer.attempted)
        self.assertEqual(versions, expected)
        labels = {
            stage: entry["VersionId"]
            for entry in body["Versions"]
            for stage in entry.get("VersionStages", [])
        }
        wanted = {"AWSCURRENT": expected[-1]}
        if len(expected) > 1:
            wanted["AWSPREVIOUS"] = expected[-2]
        self.assertEqual(labels, wanted)
        self.assertEqual(daemon.read(writer.secret, "_value").decode(), f"value {expected[-1]}")

    def test_acknowledged_versions_survive(self):
        daemon = Daemon()
        self.addCleanup(daemon.close)
        chooser = random.Random(20261122)
        written = 0
        for round_number in range(ROUNDS):
            daemon.mount()
            serving = daemon.daemon_pid()
            writers = [Writer(daemon, f"r{round_number}w{i}") for i in range(WRITERS)]
            for writer in writers:
                writer.start()
            # Joining is the wait: the moment of the kill is random, and some may be done before.
            writers[0].join(chooser.uniform(0.0, 0.12))
            daemon.kill(serving)
            for writer in writers:
                writer.join()
            daemon.mount()
            for writer in writers:
                self.check(daemon, writer)
                written += len(writer.acknowledged)
            daemon.run("audit", "--verify")
            daemon.unmount()
        self.assertGreater(written, ROUNDS)
        print(f"{ROUNDS} rounds, {written} acknowledged versions, all there")


if __name__ == "__main__":
    unittest.main(verbosity=1)
