#!/usr/bin/python3
"""The main job through a real mount: values, versions and labels as files, for the usual tools."""

import json
import mmap
import os
import random
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests/support"))
from daemon import NOBODY, Daemon, Failed  # noqa: E402

CREDENTIALS = '{"username":"app","password":"s3cr3t"}'


class MountTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(secret=("prod/db", CREDENTIALS))
        self.addCleanup(self.daemon.close)

    def test_value_keys_versions_and_labels_are_files(self):
        d = self.daemon
        first = d.read("prod/db/_version").decode().strip()
        self.assertEqual(d.read("prod/db/_value").decode(), CREDENTIALS)
        self.assertEqual(d.read("prod/db/_keys/password"), b"s3cr3t")
        second = d.put("prod/db", '{"username":"app","password":"n3w"}')
        self.assertEqual(d.read("prod/db/_keys/password"), b"n3w")
        self.assertEqual(d.read("prod/db/_labels/AWSPREVIOUS/_keys/password"), b"s3cr3t")
        self.assertEqual(d.read("prod/db/_labels/AWSCURRENT/_version").decode().strip(), second)
        self.assertEqual(d.read(f"prod/db/_versions/{first}/_keys/password"), b"s3cr3t")
        self.assertEqual(d.read(f"prod/db/_versions/{second}/_keys/password"), b"n3w")
        self.assertEqual(sorted(os.listdir(d.path("prod/db/_versions"))), sorted([first, second]))
        self.assertEqual(d.run("get", "prod/db", "-k", "password")[0], b"n3w")
        self.assertEqual(
            d.run("get", "prod/db", "-k", "password", "-l", "AWSPREVIOUS")[0], b"s3cr3t"
        )
        self.assertEqual(d.run("get", "prod/db", "-k", "password", "-V", first)[0], b"s3cr3t")
        d.run("rollback", "prod/db")
        self.assertEqual(d.read("prod/db/_keys/password"), b"s3cr3t")

    def test_a_secret_and_secrets_below_it_coexist(self):
        d = self.daemon
        d.put("prod", "the prefix itself")
        self.assertEqual(d.read("prod/_value"), b"the prefix itself")
        self.assertEqual(d.read("prod/db/_keys/username"), b"app")
        self.assertIn("db", os.listdir(d.path("prod")))

    def test_the_usual_tools_behave(self):
        d = self.daemon
        d.put("prod/db", '{"username":"app","password":"n3w"}')
        out = d.sh(
            """set -e
            ls -lR $M/prod >/dev/null
            find $M -type f | sort
            cp -r $M/prod copy && diff -r $M/prod copy
            tar -C $M -cf prod.tar prod && mkdir untar && tar -C untar -xf prod.tar
            diff -r $M/prod untar/prod
            rsync -a $M/prod/ synced/ && diff -r $M/prod synced
            du -s $M/prod >/dev/null
            grep -rl n3w $M/prod/db/_keys
            diff -r $M/prod/db/_labels/AWSPREVIOUS/_keys $M/prod/db/_labels/AWSCURRENT/_keys || true
            stat -c '%a %U %s' $M/prod/db/_keys/password
            wc -c < $M/prod/db/_value
            head -c 3 $M/prod/db/_keys/password; echo
            dd if=$M/prod/db/_value bs=1 skip=2 count=8 2>/dev/null; echo
            """
        )
        self.assertIn("prod/db/_keys/password\n", out)
        self.assertIn("400 root 3", out)
        self.assertIn("> n3w", out)
        self.assertIn("username\n", out)

    def test_python_reads_and_maps(self):
        path = self.daemon.path("prod/db/_value")
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), CREDENTIALS)
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        with mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as mapped:
            self.assertEqual(mapped[:], CREDENTIALS.encode())
        self.assertEqual(os.pread(fd, 8, 2), b"username")

    def test_a_c_program_maps_the_file(self):
        source = self.daemon.root + "/map.c"
        with open(source, "w", encoding="ascii") as file:
            file.write(
                r"""
                #include <fcntl.h>
                #include <stdio.h>
                #include <sys/mman.h>
                #include <sys/stat.h>
                int main(int argc, char **argv) {
                  struct stat s;
                  int fd = open(argv[1], O_RDONLY);
                  if (argc < 2 || fd < 0 || fstat(fd, &s)) return 1;
                  char *p = mmap(0, s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
                  if (p == MAP_FAILED) return 2;
                  return fwrite(p, 1, s.st_size, stdout) != (size_t)s.st_size;
                }"""
            )
        out = self.daemon.sh(f"cc -o map map.c && ./map $M/prod/db/_value")
        self.assertEqual(out, CREDENTIALS)

    def test_sizes_are_exact_and_an_open_handle_keeps_its_version(self):
        d = self.daemon
        path = d.path("prod/db/_value")
        with open(path, "rb") as before:
            for value in ("short", "x" * 65536):
                d.put("prod/db", value)
                # Other processes look: a thread's fstat() is about what it looked at last.
                self.assertEqual(
                    d.sh("stat -c %s $M/prod/db/_value; wc -c < $M/prod/db/_value").split(),
                    [str(len(value))] * 2,
                )
                self.assertEqual(os.fstat(before.fileno()).st_size, len(CREDENTIALS))
            self.assertEqual(os.fstat(before.fileno()).st_size, len(CREDENTIALS))
            self.assertEqual(before.read().decode(), CREDENTIALS)

    def test_every_kind_of_name_has_a_path(self):
        d = self.daemon
        names = {
            "a": "a",
            "a//b": "a/%/b",
            "/lead": "%/lead",
            "trail/": "trail/%",
            ".": "%2E",
            "..": "%2E%2E",
            "x/../y": "x/%2E%2E/y",
            "_value": "%5Fvalue",
            "A": "A",
            "a+b=c@d.e!f": "a+b=c@d.e!f",
            "l" * 255: "l" * 255,
        }
        for name, path in names.items():
            d.put(name, "value of " + name)
            self.assertEqual(d.read(path, "_value").decode(), "value of " + name)
        for name, path in names.items():
            self.assertEqual(d.read(path, "_value").decode(), "value of " + name)

    def test_paths_do_not_move_when_other_secrets_come_and_go(self):
        d = self.daemon
        chooser = random.Random(5)
        alphabet = ["a", "b", "/", "_", ".", "-"]
        known = {}
        for step in range(120):
            name = "".join(chooser.choices(alphabet, k=chooser.randint(1, 5)))
            if name in known and chooser.random() < 0.5:
                d.run("rm", "--force", "--", name)
                del known[name]
            else:
                d.run("put", "--", name, input=f"value {step}")
                known.setdefault(name, None)
                escape = {"": "%", ".": "%2E", "..": "%2E%2E"}
                path = "/".join(
                    escape.get(c, "%5F" + c[1:] if c.startswith("_") else c)
                    for c in name.split("/")
                )
                ino = os.stat(d.path(path)).st_ino
                self.assertIn(known[name], (None, (path, ino)))
                known[name] = (path, ino)
            for path, ino in known.values():
                self.assertEqual(os.stat(d.path(path)).st_ino, ino)

    def test_stat_of_a_directory_that_was_removed_and_made_again_is_of_the_new_one(self):
        d = self.daemon
        d.put("again/stays", "its parent is not made again")
        for value in ("one", "two", "three"):
            d.put("again/y", value)
            # The first could be of what the kernel remembers, the second never is.
            seen = os.stat(d.path("again/y")).st_ino
            with os.scandir(d.path("again")) as entries:
                self.assertEqual(seen, {e.name: e.inode() for e in entries}["y"])
            d.run("rm", "again/y", "--force")

    def test_the_directory_of_a_secret_that_was_removed_and_made_again_works_at_once(self):
        d = self.daemon
        for value in ("one", "two", "three"):
            d.put("again/x", value)
            self.assertEqual(d.read("again/x/_value").decode(), value)
            d.run("rm", "again/x", "--force")
            with self.assertRaises(FileNotFoundError):
                os.stat(d.path("again/x/_value"))

    def test_the_log_says_when(self):
        with open(os.path.join(self.daemon.store, "daemon.log"), encoding="utf-8") as log:
            self.assertRegex(log.readline(), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ secretfs: store ")

    def test_another_uid_reads_nothing_and_is_recorded(self):
        d = self.daemon
        script = """
            cat $M/prod/db/_value; cat $M/prod/db/_keys/password; ls $M/prod; cat $M/prod/db/_meta
            getfattr -n user.secretfs.arn $M/prod/db/_value
            stat -c '%a %u %s %Y' $M/prod/db/_value; ls -A $M
            cat $M/_status >/dev/null && echo status-ok"""
        out = d.sh(script, uid=NOBODY)
        self.assertNotIn("s3cr3t", out)
        self.assertNotIn("arn:aws", out)
        self.assertEqual(out.count("Permission denied"), 5, out)
        self.assertIn("0 0 0 0\n", out)
        self.assertIn("status-ok", out)
        self.assertIn("_status\n_views\n", out)
        self.assertNotIn("prod\n", out.replace("prod/", ""))
        self.assertIn("not authorized", d.run("get", "prod/db", uid=NOBODY, code=4)[1])
        self.assertIn("not authorized", d.run("ls", uid=NOBODY, code=4)[1])
        self.assertIn("not authorized", d.run("put", "prod/db", input="x", uid=NOBODY, code=4)[1])
        denied = [e for e in d.events() if e.get("errorCode") == "AccessDeniedException"]
        self.assertTrue(all(e["additionalEventData"]["uid"] == NOBODY for e in denied))
        names = [e["eventName"] for e in denied]
        self.assertEqual(names.count("GetSecretValue"), 3, names)
        for name in ("ListSecrets", "DescribeSecret", "PutSecretValue"):
            self.assertIn(name, names)
        self.assertEqual(d.read("prod/db/_value").decode(), CREDENTIALS)

    def test_the_mount_cannot_be_written(self):
        out = self.daemon.sh(
            "echo x > $M/prod/db/_value; rm $M/prod/db/_value; mkdir $M/new; touch $M/_status",
            code=None,
        )
        self.assertEqual(out.count("Read-only file system"), 4, out)

    def test_extended_attributes_name_the_secret(self):
        d = self.daemon
        path = d.path("prod/db/_value")
        self.assertEqual(os.getxattr(path, "user.secretfs.name"), b"prod/db")
        self.assertEqual(os.getxattr(path, "user.secretfs.labels"), b"AWSCURRENT")
        self.assertEqual(
            os.getxattr(path, "user.secretfs.version"), d.read("prod/db/_version").strip()
        )
        self.assertTrue(
            os.getxattr(path, "user.secretfs.arn").startswith(b"arn:aws:secretsmanager:")
        )
        self.assertEqual(
            {x for x in os.listxattr(path) if x.startswith("user.")},
            {f"user.secretfs.{x}" for x in ("arn", "name", "version", "labels", "kms_key")},
        )
        with self.assertRaises(OSError):
            os.getxattr(path, "user.other")

    def test_binary_values_round_trip(self):
        value = bytes(range(256)) * 256
        self.daemon.put("binary", value, "--binary")
        self.assertEqual(self.daemon.read("binary/_value"), value)
        self.assertEqual(self.daemon.run("get", "binary")[0], value)

    def test_one_key_can_be_replaced(self):
        d = self.daemon
        d.put("prod/db", 'quote " and \\ and \n', "--key", "password")
        self.assertEqual(d.read("prod/db/_keys/password"), b'quote " and \\ and \n')
        self.assertEqual(d.read("prod/db/_keys/username"), b"app")

    def test_deletion_can_be_undone(self):
        d = self.daemon
        d.run("rm", "prod/db")
        with self.assertRaises(FileNotFoundError):
            d.read("prod/db/_value")
        self.assertIn("marked for deletion", d.run("get", "prod/db", code=6)[1])
        d.run("restore", "prod/db")
        self.assertEqual(d.read("prod/db/_keys/password"), b"s3cr3t")

    def test_compare_and_swap_has_an_exit_code(self):
        d = self.daemon
        first = d.read("prod/db/_version").decode().strip()
        d.put("prod/db", "second", "--if-version", first)
        d.put("prod/db", "third", "--if-version", first, code=6)
        self.assertEqual(d.read("prod/db/_value"), b"second")

    def test_the_daemon_ends_when_the_mount_is_taken_away(self):
        d = self.daemon
        subprocess.run(["umount", d.mountpoint], check=True)
        d.wait_for_end()
        self.assertFalse(os.path.exists(d.socket))

    def test_everything_is_there_after_a_restart(self):
        d = self.daemon
        d.put("prod/db", "second")
        d.unmount()
        d.mount()
        self.assertEqual(d.read("prod/db/_value"), b"second")
        self.assertEqual(d.read("prod/db/_labels/AWSPREVIOUS/_keys/password"), b"s3cr3t")
        self.assertIn(b"intact", d.run("audit", "--verify")[0])

    def test_a_store_that_is_cut_under_the_daemon_is_an_error_and_no_crash(self):
        d = self.daemon
        for i in range(40):
            d.put(f"many/{i}", "x" * 20000)
        data = d.store + "/data.mdb"
        os.truncate(data, 2 * 4096)
        errors = 0
        for i in range(40):
            try:
                self.assertEqual(d.read(f"many/{i}/_value"), b"x" * 20000)
            except OSError:
                errors += 1
        self.assertGreater(errors, 0)
        self.assertIn(b'"version"', d.read("_status"))
        self.assertEqual(d.status()["restarts"], 0)

    def test_two_bind_mounts_follow_a_new_value(self):
        d = self.daemon
        target_file = d.root + "/password"
        target_directory = d.root + "/credentials"
        open(target_file, "w", encoding="ascii").close()
        os.mkdir(target_directory)
        subprocess.run(
            ["mount", "--bind", d.path("prod/db/_keys/password"), target_file], check=True
        )
        self.addCleanup(subprocess.run, ["umount", "-l", target_file])
        subprocess.run(["mount", "--bind", d.path("prod/db/_keys"), target_directory], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", target_directory])
        for i in range(20):
            d.put("prod/db", f"secret {i}", "--key", "password")
            for path in (target_file, target_directory + "/password"):
                with open(path, encoding="ascii") as file:
                    self.assertEqual(file.read(), f"secret {i}")

    def test_a_plain_user_mounts_through_fusermount(self):
        own = Daemon(user=NOBODY)
        self.addCleanup(own.close)
        own.mount()
        own.put("mine", "value")
        self.assertEqual(own.sh("cat $M/mine/_value", uid=NOBODY), "value")
        # Root is refused by the kernel: the mount is the user's own.
        self.assertIn("Permission denied", own.sh("cat $M/mine/_value", code=None))
        own.unmount()

    def test_a_plain_users_mount_can_be_unmounted_while_events_are_raised(self):
        # On such a mount, which is then in use for some moments.
        own = Daemon(user=NOBODY)
        self.addCleanup(own.close)
        own.mount()
        for value in range(3):
            own.put("many", json.dumps({f"key{i}": value for i in range(2000)}))
            own.sh("cat $M/many/_keys/* >/dev/null", uid=NOBODY)
            own.put("many", json.dumps({f"key{i}": -value for i in range(2000)}))
            own.unmount()
            own.mount()


if __name__ == "__main__":
    unittest.main(verbosity=1)
