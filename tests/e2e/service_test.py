"""The keeper as a service: killed, started again, stopped, by a manager that keeps descriptors."""

import mmap
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

from daemon import BINARY, Daemon
from fake_systemd import ServiceManager
from inotify import IN_MODIFY, Watcher
from page_cache import cached_pages
from processes import wait_for

KEPT = {
    "secretfs-fuse",
    "secretfs-requests",
    "secretfs-root-key",
    "secretfs-socket",
    "secretfs-mount",
    "secretfs-touch",
    "secretfs-touched",
}


class Reader(threading.Thread):
    """Reads one file over and over, and notes whatever is wrong."""

    def __init__(self, path, expected):
        super().__init__(daemon=True)
        self.path, self.expected = path, expected
        self.problems, self.reads, self.worst = [], 0, 0.0
        self.done = threading.Event()

    def run(self):
        while not self.done.is_set():
            begun = time.monotonic()
            try:
                with open(self.path, "rb") as file:
                    content = file.read()
                if content != self.expected:
                    self.problems.append(content)
            except OSError as error:
                self.problems.append(error)
            self.worst = max(self.worst, time.monotonic() - begun)
            self.reads += 1


class ServiceTest(unittest.TestCase):
    def serve(self, *options, daemon=None):
        d = daemon or Daemon()
        if daemon is None:
            self.addCleanup(d.close)
        command = [BINARY, "mount", "-f", "--fd-store", *options]
        service = ServiceManager(
            [*command, "--store", d.store, d.mountpoint], d.environment, d.root
        )
        self.addCleanup(service.close)
        service.start()
        d.keeper_pid = service.process.pid
        return d, service

    def start_again(self, d, service):
        service.start()
        d.keeper_pid = service.process.pid

    def test_a_keeper_that_was_killed_is_replaced_without_an_error(self):
        d, service = self.serve()
        service.wait_until(lambda: set(service.kept) == KEPT)
        d.put("a", "value")
        reader = Reader(d.path("a/_value"), b"value")
        reader.start()
        with open(d.path("a/_value"), "rb", buffering=0) as held:
            for round_ in range(3):
                before = d.daemon_pid()
                service.kill()
                self.start_again(d, service)
                self.assertNotEqual(d.daemon_pid(), before)
                self.assertEqual(os.pread(held.fileno(), 100, 0), b"value")
                d.put(f"b/{round_}", "written")
                self.assertEqual(d.read(f"b/{round_}/_value"), b"written")
        reader.done.set()
        reader.join()
        self.assertEqual(reader.problems, [])
        # The store's root key came from memory: the next does without its file.
        os.rename(d.key, d.key + ".away")
        service.kill()
        self.start_again(d, service)
        self.assertEqual(d.read("a/_value"), b"value")
        os.rename(d.key + ".away", d.key)
        self.check_stop(d, service)

    def check_stop(self, d, service):
        self.assertEqual(service.stop(), 0)
        d.keeper_pid = None
        self.assertFalse(os.path.ismount(d.mountpoint))
        self.assertEqual(service.kept, {})
        self.assertFalse(os.path.exists(d.socket))

    def test_the_whole_service_may_be_killed(self):
        d, service = self.serve()
        d.put("a", "value")
        service.wait_until(lambda: set(service.kept) == KEPT)
        daemon = os.pidfd_open(d.daemon_pid())
        signal.pidfd_send_signal(daemon, signal.SIGKILL)
        service.kill()
        os.close(daemon)
        self.start_again(d, service)
        self.assertEqual(d.read("a/_value"), b"value")
        self.check_stop(d, service)

    def test_what_was_mapped_is_dropped_after_the_keeper_was_replaced(self):
        d, service = self.serve()
        d.put("a", "value")
        service.wait_until(lambda: set(service.kept) == KEPT)
        fd = os.open(d.path("a/_value"), os.O_RDONLY)
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as mapped:
            os.close(fd)
            self.assertEqual(mapped[:], b"value")
            service.kill()
            self.start_again(d, service)
            wait_for(lambda: cached_pages(mapped) == 0, "the page is dropped")
        self.check_stop(d, service)

    def test_watchers_are_woken_after_the_keeper_was_replaced(self):
        d, service = self.serve()
        d.put("a", "value")
        service.wait_until(lambda: set(service.kept) == KEPT)
        watcher = Watcher()
        self.addCleanup(watcher.close)
        watcher.watch(d.path("a/_value"))
        service.kill()
        self.start_again(d, service)
        d.put("a", "another")
        masks = [mask for _, _, mask in watcher.events(2)]
        self.assertIn(IN_MODIFY, masks)
        self.check_stop(d, service)

    def test_an_unmounted_service_leaves_nothing_behind(self):
        d, service = self.serve()
        service.wait_until(lambda: set(service.kept) == KEPT)
        subprocess.run(["umount", d.mountpoint], check=True)
        self.assertEqual(service.wait(), 0)
        self.assertEqual(service.kept, {})
        # And starts anew.
        self.start_again(d, service)
        self.assertTrue(os.path.ismount(d.mountpoint))
        self.check_stop(d, service)

    def test_a_mount_that_went_while_nobody_kept_it_is_made_anew(self):
        d, service = self.serve()
        d.put("a", "value")
        service.wait_until(lambda: set(service.kept) == KEPT)
        service.kill()
        subprocess.run(["umount", "-l", d.mountpoint], check=True)
        self.start_again(d, service)
        self.assertEqual(d.read("a/_value"), b"value")
        self.check_stop(d, service)

    def test_a_mount_that_was_not_left_whole_is_made_anew(self):
        d, service = self.serve()
        d.put("a", "value")
        service.wait_until(lambda: set(service.kept) == KEPT)
        for lost in ("secretfs-mount", "secretfs-requests"):
            service.kill()
            service.forget(lost)
            self.start_again(d, service)
            self.assertEqual(d.read("a/_value"), b"value")
            service.wait_until(lambda: set(service.kept) == KEPT)
        self.check_stop(d, service)

    def test_a_device_number_that_is_used_again_is_no_mount(self):
        d, service = self.serve()
        d.put("a", "value")
        service.wait_until(lambda: set(service.kept) == KEPT)
        service.kill()
        subprocess.run(["umount", "-l", d.mountpoint], check=True)
        other = os.path.join(d.root, "tmpfs")
        os.mkdir(other)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", other], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", other], check=False)
        self.start_again(d, service)
        self.assertEqual(d.read("a/_value"), b"value")
        self.check_stop(d, service)

    def test_another_store_is_not_shown_under_the_ids_of_the_first(self):
        d, service = self.serve("--reprompt")
        d.put("a", "value")
        service.wait_until(lambda: set(service.kept) == KEPT - {"secretfs-root-key"})
        service.kill()
        other = Daemon(secret=("a", "another"))
        self.addCleanup(other.close)
        other.unmount()
        os.rename(d.store, d.store + ".before")
        os.rename(other.store, d.store)
        with self.assertRaisesRegex(AssertionError, "another store than the one that is mounted"):
            self.start_again(d, service)
        d.keeper_pid = None
        self.assertFalse(os.path.ismount(d.mountpoint))
        # And then the service starts with it.
        service.wait_until(lambda: not service.kept)
        self.start_again(d, service)
        self.assertEqual(d.read("a/_value"), b"another")
        self.check_stop(d, service)

    def test_the_service_of_another_mountpoint_detaches_the_first(self):
        d, service = self.serve()
        d.put("a", "value")
        service.wait_until(lambda: set(service.kept) == KEPT)
        service.kill()
        first, d.mountpoint = d.mountpoint, os.path.join(d.root, "other")
        os.mkdir(d.mountpoint)
        service.command[-1] = d.mountpoint
        self.start_again(d, service)
        self.assertFalse(os.path.ismount(first))
        self.assertEqual(d.read("a/_value"), b"value")
        self.check_stop(d, service)

    def test_without_a_manager_it_is_refused(self):
        d = Daemon()
        self.addCleanup(d.close)
        _, error = d.run("mount", "-f", "--fd-store", "--store", d.store, d.mountpoint, code=2)
        self.assertIn("FileDescriptorStoreMax=", error)


if __name__ == "__main__":
    unittest.main(verbosity=1)
