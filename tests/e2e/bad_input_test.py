#!/usr/bin/python3
"""What a user can get wrong: each a one-line error that names the thing and the next step, with an
exit code of its kind, and nothing changed."""

import glob
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests/support"))
from daemon import NOBODY, Daemon  # noqa: E402

OK, ERROR, USAGE, NOT_FOUND, DENIED, SEALED, CONFLICT = range(7)


class BadInputTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)

    def expect(self, code, *mentions, run):
        """`run` gives (stdout, stderr) of a command that was to end with `code`."""
        _, stderr = run(code)
        lines = stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, stderr)
        self.assertTrue(lines[0].startswith("secretfs: "), stderr)
        for text in mentions:
            self.assertIn(text, stderr)

    def command(self, *arguments, **options):
        return lambda code: self.daemon.run(*arguments, code=code, **options)

    def mount_command(self):
        return self.command("mount", "--store", self.daemon.store, self.daemon.mountpoint)

    def test_values_and_names(self):
        d = self.daemon
        d.mount()
        self.expect(USAGE, "65536", run=self.command("put", "x", input="v" * 65537))
        self.expect(USAGE, "--binary", run=self.command("put", "x", input=b"\xff\xfe"))
        self.expect(USAGE, "empty", run=self.command("put", "x", input=b""))
        self.expect(USAGE, "Invalid name", run=self.command("put", "no spaces", input="v"))
        self.expect(USAGE, "255 bytes", run=self.command("put", "n" * 256, input="v"))
        self.expect(NOT_FOUND, "missing", run=self.command("get", "missing"))
        self.expect(NOT_FOUND, "missing", run=self.command("rm", "missing"))
        self.assertEqual(d.run("ls")[0], b"")
        d.put("x", '{"a":1}')
        self.expect(NOT_FOUND, "nokey", run=self.command("get", "x", "-k", "nokey"))
        self.expect(NOT_FOUND, "NOLABEL", run=self.command("get", "x", "-l", "NOLABEL"))

    def test_no_daemon(self):
        self.expect(ERROR, self.daemon.socket, "secretfs mount", run=self.command("ls"))

    def test_usage(self):
        for arguments in (["nonsense"], ["put"], ["get", "x", "--no-such-option"]):
            self.daemon.run(*arguments, code=USAGE)

    def test_wrong_root_key(self):
        d = self.daemon
        os.rename(d.key, d.key + ".right")
        self.expect(SEALED, d.key, "--root-key", run=self.mount_command())
        with open(d.key, "w", encoding="ascii") as file:
            file.write("ab" * 32 + "\n")
        os.chmod(d.key, 0o400)
        self.expect(SEALED, d.store, "root key", run=self.mount_command())
        os.chmod(d.key, 0o644)
        self.expect(DENIED, d.key, "chmod 600", run=self.mount_command())
        os.rename(d.key + ".right", d.key)
        d.mount()

    def test_a_damaged_store(self):
        d = self.daemon
        data = d.store + "/data.mdb"
        shutil.copy(data, data + ".whole")
        for size in (0, 5000, os.path.getsize(data) - 4096):
            os.truncate(data, size)
            self.expect(ERROR, d.store, run=self.mount_command())
            shutil.copy(data + ".whole", data)
        with open(data, "r+b") as file:
            content = file.read()
            header = content.index(b"SECRETFS\x00\x00\x00\x02")
            file.seek(header + 11)
            file.write(b"\x03")
        self.expect(CONFLICT, "newer", run=self.mount_command())
        shutil.copy(data + ".whole", data)
        d.mount()

    def test_places(self):
        d = self.daemon
        self.expect(
            NOT_FOUND, "/nonexistent", run=self.command("mount", "--store", d.store, "/nonexistent")
        )
        self.expect(
            NOT_FOUND,
            "secretfs init",
            run=self.command("mount", "--store", d.root + "/nothing", d.mountpoint),
        )
        occupied = d.root + "/occupied"
        os.mkdir(occupied)
        with open(occupied + "/file", "w", encoding="ascii"):
            pass
        self.expect(
            USAGE, occupied, "empty", run=self.command("mount", "--store", d.store, occupied)
        )
        self.expect(CONFLICT, d.store, run=self.command("init", "--store", d.store))
        d.mount()
        other = d.root + "/other"
        os.mkdir(other)
        self.expect(
            CONFLICT,
            d.store,
            "in use",
            run=self.command("mount", "--store", d.store, "--socket", d.root + "/s2", other),
        )
        self.expect(CONFLICT, run=self.mount_command())
        self.assertEqual(os.listdir(other), [])
        self.expect(NOT_FOUND, other, run=self.command("umount", other))

    def test_an_unwritable_directory(self):
        where = self.daemon.root + "/denied"
        os.mkdir(where)
        self.expect(
            DENIED, where, run=self.command("init", "--store", where + "/store", uid=NOBODY)
        )
        self.assertEqual(os.listdir(where), [])
        self.assertEqual(glob.glob(self.daemon.root + "/*.root-key"), [])

    def test_configuration(self):
        d = self.daemon
        config = d.root + "/secretfs.toml"
        for text, mention in (
            ("store = [", "secretfs.toml:1"),
            ("[mount]\nalow_other = true\n", 'secretfs.toml:2: unknown key "alow_other"'),
            ('[mount]\nreader_threads = "many"\n', "secretfs.toml:2"),
        ):
            with open(config, "w", encoding="ascii") as file:
                file.write(text)
            self.expect(USAGE, mention, run=self.command("ls", "--config", config))
        self.expect(
            NOT_FOUND, "missing.toml", run=self.command("ls", "--config", d.root + "/missing.toml")
        )


if __name__ == "__main__":
    unittest.main(verbosity=1)
