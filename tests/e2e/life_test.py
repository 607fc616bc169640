"""How mounts end, are upgraded, and have their daemon replaced; nothing is ever left behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

from daemon import BINARY, NOBODY, Daemon
from processes import child, children, status_of, wait_for


class LifeTest(unittest.TestCase):
    def start(self, config=None, binary=None, **options):
        daemon = Daemon(**options)
        self.addCleanup(daemon.close)
        if config is not None:
            daemon.configure(config)
        if binary is not None:
            daemon.binary = binary
        daemon.mount()
        daemon.put("a", "value")
        return daemon

    def check_all_ended(self, d, pids):
        d.wait_for_end()
        self.assertFalse(os.path.ismount(d.mountpoint))
        self.assertFalse(os.path.exists(d.socket))
        for pid in pids:
            state = "gone"
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    state = status_of(pid)["State"]
                except (FileNotFoundError, ProcessLookupError):
                    state = "gone"
                if state == "gone" or state.startswith("Z"):
                    break
                time.sleep(0.02)
            self.assertTrue(state == "gone" or state.startswith("Z"), f"{pid}: {state}")

    def test_somebody_elses_umount_ends_all(self):
        for command in (["umount"], ["umount", "-l"]):
            d = self.start()
            pids = [d.keeper_pid, *children(d.keeper_pid)]
            subprocess.run([*command, d.mountpoint], check=True)
            self.check_all_ended(d, pids)

    def test_a_detached_mount_is_served_to_its_last_open_file(self):
        d = self.start()
        pids = [d.keeper_pid, *children(d.keeper_pid)]
        with open(d.path("a/_value"), "rb", buffering=0) as file:
            subprocess.run(["umount", "-l", d.mountpoint], check=True)
            self.assertEqual(file.read(), b"value")
        self.check_all_ended(d, pids)

    def test_a_mountpoint_that_is_moved_away_and_removed_ends_all(self):
        d = self.start()
        pids = [d.keeper_pid, *children(d.keeper_pid)]
        # In another mount namespace the directory is no mount point, and may be removed: that
        # detaches the mount here.
        subprocess.run(
            ["unshare", "-m", "sh", "-c", 'umount "$0" && rmdir "$0"', d.mountpoint], check=True
        )
        self.check_all_ended(d, pids)

    def test_signals_to_the_keeper_unmount(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            d = self.start()
            pids = [d.keeper_pid, *children(d.keeper_pid)]
            os.kill(d.keeper_pid, number)
            self.check_all_ended(d, pids)

    def test_signals_to_the_daemon_change_nothing(self):
        d = self.start()
        pid = d.daemon_pid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(pid, number)
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertEqual(d.daemon_pid(), pid)

    def test_a_daemon_that_is_stopped_is_replaced(self):
        d = self.start()
        before = d.daemon_pid()
        os.kill(before, signal.SIGSTOP)
        # Waits for the watchdog's ten seconds.
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertNotEqual(d.daemon_pid(), before)
        self.assertIn("killed by signal 9", d.status()["last_end"])

    def test_an_upgrade_whose_daemon_does_not_let_go_comes_about(self):
        d = self.start()
        before = d.daemon_pid()
        os.kill(d.keeper_pid, signal.SIGHUP)
        os.kill(before, signal.SIGSTOP)
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertNotEqual(d.daemon_pid(), before)
        # The keeper counts it when it hears of it, and the status is a second old at most.
        deadline = time.monotonic() + 20
        while d.status()["upgrades"] != 1:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_a_stopped_toucher_holds_nobody_up(self):
        d = self.start()
        toucher = child(d.keeper_pid, "toucher")
        os.kill(toucher, signal.SIGSTOP)
        for number in range(60):
            d.put(f"b/{number}", "x")
            self.assertEqual(d.read(f"b/{number}/_value"), b"x")
        os.kill(toucher, signal.SIGCONT)

    def test_a_toucher_that_dies_is_replaced(self):
        d = self.start()
        toucher = child(d.keeper_pid, "toucher")
        os.kill(toucher, signal.SIGKILL)
        wait_for(lambda: child(d.keeper_pid, "toucher") not in (None, toucher), "there is another")

    def test_the_daemon_has_no_privileges(self):
        d = self.start()
        status = status_of(d.daemon_pid())
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[capabilities], 16), 0, capabilities)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertNotIn("0", status["Uid"].split(), "there is a user secretfs to be")
        self.assertEqual(status["Groups"].split(), [])

    def test_a_broken_config_stops_an_upgrade_and_no_restart(self):
        d = self.start(config="[mount]\nreader_threads = 2\n")
        d.configure("[mount]\nreader_threads = 'many'\n")
        del d.environment["SECRETFS_CONFIG"]
        _, error = d.run("upgrade", code=6)
        self.assertIn("reader_threads", error)
        before = d.daemon_pid()
        os.kill(before, signal.SIGKILL)
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertNotEqual(d.daemon_pid(), before)

    def test_an_upgrade_takes_the_program_that_is_installed_now(self):
        directory = os.path.dirname(self.copy_of_binary())
        program = os.path.join(directory, "secretfs")
        d = self.start(binary=program)
        # What does not start is refused, and the old program goes on.
        os.rename(program, program + ".old")
        with open(program, "w", encoding="ascii") as file:
            file.write("not a program")
        os.chmod(program, 0o755)
        d.binary = BINARY
        _, error = d.run("upgrade", code=6)
        self.assertIn("the old one goes on serving", error)
        self.assertEqual(d.read("a/_value"), b"value")
        os.unlink(program)
        shutil.copy(BINARY, program)
        inode = os.stat(program).st_ino
        d.run("upgrade")
        self.assertEqual(os.stat(f"/proc/{d.daemon_pid()}/exe").st_ino, inode)
        # And it is this one that comes back.
        os.kill(d.daemon_pid(), signal.SIGKILL)
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertEqual(os.stat(f"/proc/{d.daemon_pid()}/exe").st_ino, inode)

    def copy_of_binary(self):
        directory = tempfile.mkdtemp(prefix="secretfs-e2e-bin-")
        self.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o755)
        return shutil.copy(BINARY, os.path.join(directory, "secretfs"))

    def test_a_store_that_cannot_be_opened_again_ends_the_mount(self):
        d = self.start()
        pids = [d.keeper_pid, *children(d.keeper_pid)]
        os.rename(d.store, d.store + ".moved")
        os.kill(d.daemon_pid(), signal.SIGKILL)
        self.check_all_ended(d, pids)
        with open(d.store + ".moved/daemon.log", encoding="utf-8") as log:
            self.assertIn("daemons in a row did not come up", log.read())

    def test_without_a_kept_root_key_the_key_file_is_read_again(self):
        d = Daemon()
        self.addCleanup(d.close)
        d.mount("--reprompt")
        d.put("a", "value")
        os.kill(d.daemon_pid(), signal.SIGKILL)
        self.assertEqual(d.read("a/_value"), b"value")
        # With it, the file is not needed.
        kept = self.start()
        os.rename(kept.key, kept.key + ".away")
        os.kill(kept.daemon_pid(), signal.SIGKILL)
        self.assertEqual(kept.read("a/_value"), b"value")

    def test_an_ordinary_users_mount_survives_its_daemon(self):
        d = self.start(user=NOBODY)
        before = d.daemon_pid()
        os.kill(before, signal.SIGKILL)
        self.assertEqual(d.sh("cat $M/a/_value", uid=NOBODY), "value")
        self.assertNotEqual(d.daemon_pid(), before)

    def test_who_runs_the_daemon_verb_is_told_what_it_is_for(self):
        d = self.start()
        for verb in ("daemon", "toucher"):
            _, error = d.run(verb, code=2)
            self.assertIn("secretfs mount", error)


if __name__ == "__main__":
    unittest.main(verbosity=1)
