"""What the mount depends on is slow, stopped or full: whoever reads files does not notice, or is
told why, and nothing hangs."""

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

from daemon import BINARY, NOBODY, Daemon

# A bound for what takes milliseconds on an idle machine; far below the time-outs that would end a
# wait for somebody who never answers (30 s).
BOUND_SECONDS = 20
FULL = "No space left on device"


def open_again(fd):
    """The same sink for this test alone, so that filling it changes no mode of the daemon's."""
    return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)


def fill(fd, piece=1):
    """Until a sink takes no more, not even a byte."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 0.2:
        try:
            os.write(fd, b"-" * piece)
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.005)


class Reader:
    """A process that reads a file of the mount for as long as the block lasts.

    It ends by itself when a read fails, gives something else than `value`, or takes too long.
    """

    LOOP = """
import os, select, sys, time
path, value, bound = sys.argv[1], sys.argv[2].encode(), float(sys.argv[3])
reads = 0
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    begin = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        assert file.read() == value
    assert time.monotonic() - begin < bound, time.monotonic() - begin
    reads += 1
print(reads)
"""

    def __init__(self, daemon, name, value, uid=None):
        command = [sys.executable, "-B", "-c", self.LOOP, daemon.path(name, "_value"), value]
        self.process = subprocess.Popen(
            daemon.as_user(uid) + command + [str(BOUND_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError(self.process.communicate()[1])
        return self

    def __exit__(self, kind, *_):
        try:
            out, err = self.process.communicate(timeout=2 * BOUND_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("a reader hangs") from None
        if kind is None and (self.process.returncode != 0 or int(out) == 0):
            raise AssertionError(f"a reader noticed: {out} {err}")


class SlowSinksTest(unittest.TestCase):
    def start(self, config="", user=None):
        daemon = Daemon(user=user)
        self.addCleanup(daemon.close)
        daemon.configure(config)
        daemon.mount()
        daemon.put("a", "value")
        return daemon

    def wait_for(self, condition, what):
        deadline = time.monotonic() + BOUND_SECONDS
        while not condition():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.02)

    def tmpfs(self, path, size):
        os.mkdir(path, 0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
        # The last that happens: nothing of the daemon's is open there any more.
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=True)

    def fill_disk(self, directory):
        path = os.path.join(directory, "filler")
        with open(path, "wb", buffering=0) as file:
            for piece in (1 << 16, 1 << 12):
                try:
                    while file.write(b"-" * piece) == piece:
                        pass
                except OSError as error:
                    self.assertEqual(error.strerror, FULL)
        return path

    # --- the log

    def start_in_foreground(self, log):
        """A mount whose keeper, daemon and toucher log to the descriptor `log`."""
        daemon = Daemon()
        self.addCleanup(daemon.close)
        keeper = subprocess.Popen(
            [BINARY, "mount", "-f", "--store", daemon.store, daemon.mountpoint],
            env=daemon.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        # As its parent: the keeper is a zombie until it was waited for.
        self.addCleanup(self.end_in_foreground, daemon, keeper)
        self.wait_for(lambda: os.path.ismount(daemon.mountpoint), "not mounted")
        daemon.keeper_pid = keeper.pid
        daemon.put("a", "value")
        return daemon

    def end_in_foreground(self, daemon, keeper):
        subprocess.run([BINARY, "umount", daemon.mountpoint], env=daemon.environment, check=False)
        daemon.keeper_pid = None
        try:
            self.assertEqual(keeper.wait(BOUND_SECONDS), 0)
        except subprocess.TimeoutExpired:
            keeper.kill()
            raise

    def check_log_that_nobody_takes(self, log):
        """Keeper and daemon have lines to write, and go on."""
        d = self.start_in_foreground(log)
        modes = fcntl.fcntl(log, fcntl.F_GETFL)
        with Reader(d, "a", "value"):
            for number in range(4):
                before = d.daemon_pid()
                os.kill(before, signal.SIGKILL)
                self.assertEqual(d.read("a/_value"), b"value")
                d.put("b", f"{number}")
                self.malformed_request(d)
                self.assertNotEqual(d.daemon_pid(), before)
        d.run("upgrade")
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertGreater(d.status()["log_lines_dropped"], 0)
        self.assertEqual(fcntl.fcntl(log, fcntl.F_GETFL), modes)
        return d

    def malformed_request(self, d):
        """Which libmicrohttpd, on a thread of a request, has a line to say about."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(d.socket)
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n")
            client.settimeout(BOUND_SECONDS)
            while client.recv(4096):
                pass

    def check_lost_lines_are_told(self, d, read):
        """There is room again: the next line says how many before it were lost."""
        text = b""
        deadline = time.monotonic() + BOUND_SECONDS
        while b"lines of this log were lost" not in text:
            self.assertLess(time.monotonic(), deadline, text[-2000:])
            os.kill(d.daemon_pid(), signal.SIGKILL)
            self.assertEqual(d.read("a/_value"), b"value")
            text += read()

    @staticmethod
    def reading(fd):
        def read():
            text = b""
            while select.select([fd], [], [], 0.1)[0]:
                text += os.read(fd, 1 << 16)
            return text

        return read

    def test_a_log_on_a_pipe_that_nobody_reads(self):
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        self.addCleanup(os.close, write_end)
        filler = open_again(write_end)
        fill(filler, 4096)
        os.close(filler)
        d = self.check_log_that_nobody_takes(write_end)
        self.check_lost_lines_are_told(d, self.reading(read_end))

    def test_a_log_on_a_socket_that_nobody_reads(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        try:
            while theirs.send(b"-" * 64, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            pass
        d = self.check_log_that_nobody_takes(theirs.fileno())
        self.check_lost_lines_are_told(d, self.reading(ours.fileno()))

    def test_a_log_on_a_terminal_that_nobody_reads(self):
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        filler = open_again(slave)
        fill(filler)
        # Room for a part of a line: what a terminal says to poll() does not tell that.
        os.read(master, 1000)
        os.close(filler)
        d = self.check_log_that_nobody_takes(slave)
        self.check_lost_lines_are_told(d, self.reading(master))

    def test_a_log_on_a_terminal_that_is_stopped(self):
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        termios.tcflow(slave, termios.TCOOFF)
        d = self.check_log_that_nobody_takes(slave)
        termios.tcflow(slave, termios.TCOON)
        self.check_lost_lines_are_told(d, self.reading(master))

    def test_all_processes_of_a_mount_go_on_with_the_log_when_it_was_bounded(self):
        d = Daemon()
        self.addCleanup(d.close)
        log = os.path.join(d.store, "daemon.log")
        with open(log, "w", encoding="ascii") as file:
            file.write("an old line\n" * 100_000)
        d.configure("[audit]\nsync_interval_ms = 10\n")
        d.mount()
        # A daemon looks at the log soon after it started.
        self.wait_for(lambda: os.path.exists(log + ".1"), "not bounded")
        self.wait_for(lambda: os.path.getsize(log) < 10_000, "not emptied")
        old = os.path.getsize(log + ".1")
        self.assertGreater(old, 1_000_000)
        before = d.daemon_pid()
        os.kill(before, signal.SIGKILL)
        self.wait_for(lambda: d.daemon_pid() != before, "not replaced")

        def lines():
            with open(log, encoding="utf-8") as file:
                return file.read()

        self.wait_for(lambda: "is mounted on" in lines(), "the successor logs elsewhere")
        self.assertIn("was killed by signal 9", lines())
        self.assertEqual(os.path.getsize(log + ".1"), old)

    # --- clients

    def ask(self, d, operation, members, times=1):
        """A connection that has sent requests and read nothing; it lasts as long as the test."""
        body = json.dumps(members).encode()
        request = (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\n"
            f"X-Amz-Target: {operation}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(BOUND_SECONDS)
        client.connect(d.socket)
        client.sendall(request)
        client.setblocking(False)
        try:
            for _ in range(times - 1):
                client.sendall(request)
        except BlockingIOError:
            pass
        client.settimeout(BOUND_SECONDS)
        return client

    def test_clients_that_never_read_their_answer(self):
        d = self.start()
        d.put("large", "x" * 65536)
        # Half of the connections that one uid may have, so that this one may go on asking; on each
        # as many requests as fit, since their answers fill the way back.
        for _ in range(8):
            self.ask(d, "secretsmanager.GetSecretValue", {"SecretId": "large"}, times=100)
        with Reader(d, "a", "value"):
            for number in range(5):
                d.put("b", f"{number}")
                self.assertEqual(d.run("get", "a")[0], b"value")
            d.run("upgrade")
            self.assertEqual(d.run("get", "a")[0], b"value")

    def connect_as_nobody(self, d, count, script):
        """A process of another uid with `count` connections, on each of which `script` is done."""
        code = (
            "import socket, sys, time\n"
            f"clients = [socket.socket(socket.AF_UNIX) for _ in range({count})]\n"
            "for client in clients: client.connect(sys.argv[1])\n"
            "print('ready', flush=True)\n" + script
        )
        process = subprocess.Popen(
            d.as_user(NOBODY) + [sys.executable, "-B", "-c", code, d.socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), "ready\n")

    def check_served(self, d):
        with Reader(d, "a", "value"):
            for number in range(10):
                begin = time.monotonic()
                d.put("b", f"{number}")
                self.assertEqual(d.run("get", "b")[0].decode(), f"{number}")
                self.assertLess(time.monotonic() - begin, BOUND_SECONDS)

    def test_a_hundred_idle_connections_of_somebody_else(self):
        d = self.start()
        self.connect_as_nobody(d, 100, "sys.stdin.read()\n")
        self.check_served(d)

    def test_headers_that_come_byte_by_byte(self):
        d = self.start()
        self.connect_as_nobody(
            d,
            16,
            "while True:\n"
            "    for client in clients: client.send(b'P')\n"
            "    time.sleep(0.01)\n",
        )
        self.check_served(d)

    def test_readers_of_the_audit_trail_that_are_stopped(self):
        d = self.start()
        for _ in range(1200):
            d.read("a/_value")
        command = [BINARY, "audit", "--json", "--limit", "1000"]
        readers = []
        for _ in range(8):
            reader = subprocess.Popen(
                command, env=d.environment, stdout=subprocess.PIPE, bufsize=0
            )
            self.addCleanup(reader.communicate)
            self.addCleanup(reader.kill)
            # It has begun to print, and stands still with the rest.
            self.assertEqual(reader.stdout.read(1), b"{")
            os.kill(reader.pid, signal.SIGSTOP)
            readers.append(reader)
        # The command takes all before it prints; these stand still with the answer half taken.
        for _ in range(4):
            self.ask(d, "secretfs.ListAuditEvents", {"MaxResults": 1000}).recv(1)
        self.check_served(d)
        d.run("upgrade")
        self.assertEqual(d.read("a/_value"), b"value")
        for reader in readers:
            os.kill(reader.pid, signal.SIGCONT)
            out = reader.communicate(timeout=BOUND_SECONDS)[0]
            self.assertEqual(reader.returncode, 0)
            self.assertEqual(len(json.loads(b"{" + out)["Events"]), 1000)

    # --- disks

    def test_a_full_disk_of_the_audit_trail(self):
        d = Daemon()
        self.addCleanup(d.close)
        audit = d.root + "/audit"
        self.tmpfs(audit, "4m")
        d.configure(f'[audit]\ndirectory = "{audit}"\nsegment_mib = 1\nsync_interval_ms = 10\n')
        d.mount()
        d.put("a", "value")
        filler = self.fill_disk(audit)
        # What was reserved is used up first.
        refused = None
        for _ in range(50_000):
            try:
                d.read("a/_value")
            except OSError as error:
                refused = error
                break
        self.assertIsNotNone(refused, "the trail never met the full disk")
        self.check_refused(d, refused)
        before = d.daemon_pid()
        self.assertEqual(d.status()["restarts"], 0)

        # A daemon that is started now comes up, and refuses as well.
        os.kill(before, signal.SIGKILL)
        self.wait_for(lambda: d.daemon_pid() != before, "no successor")
        with self.assertRaises(OSError) as raised:
            d.read("a/_value")
        self.check_refused(d, raised.exception)
        d.run("upgrade")
        # A change is not revealing: it commits, and its event waits in the store.
        d.put("a", "value2")
        with self.assertRaises(OSError) as raised:
            d.read("a/_value")
        self.check_refused(d, raised.exception)

        os.unlink(filler)
        self.assertEqual(d.read("a/_value"), b"value2")
        self.wait_for(lambda: d.status()["audit"]["problem"] == "", "the problem stays")
        self.assertIn(b"intact", d.run("audit", "--verify")[0])
        puts = [e for e in d.events() if e["eventName"] == "PutSecretValue"]
        self.assertNotIn("errorCode", puts[-1])
        d.unmount()

    def check_refused(self, d, error):
        self.assertEqual(error.strerror, "Input/output error")
        self.wait_for(lambda: FULL in d.status()["audit"]["problem"], "status does not say why")
        self.assertIn("nothing is revealed", d.status()["audit"]["problem"])
        _, message = d.run("get", "a", code=1)
        self.assertIn("nothing is revealed", message)

    def test_a_mount_begins_while_the_disk_of_the_audit_trail_is_full(self):
        d = Daemon()
        self.addCleanup(d.close)
        audit = d.root + "/audit"
        self.tmpfs(audit, "4m")
        d.configure(f'[audit]\ndirectory = "{audit}"\nsegment_mib = 1\n')
        d.mount()
        d.put("a", "value")
        d.unmount()
        filler = self.fill_disk(audit)
        d.mount()
        with self.assertRaises(OSError) as raised:
            d.read("a/_value")
        self.check_refused(d, raised.exception)
        os.unlink(filler)
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertIn(b"intact", d.run("audit", "--verify")[0])
        d.unmount()

    def test_a_full_disk_of_the_store(self):
        d = Daemon()
        self.addCleanup(d.close)
        os.rename(d.store, d.store + ".made")
        self.tmpfs(d.store, "8m")
        subprocess.run(["cp", "-a", d.store + ".made/.", d.store], check=True)
        os.mkdir(d.root + "/audit", 0o700)
        d.configure(f'[audit]\ndirectory = "{d.root}/audit"\n')
        d.mount()
        d.put("a", "value")
        values = {}
        filler = self.fill_disk(d.store)
        message = None
        with Reader(d, "a", "value"):
            for number in range(200):
                name = f"many/{number}"
                done = d.run("put", name, input="x" * 60_000, code=None)
                if done[0] == b"":
                    message = done[1]
                    break
                values[name] = "x" * 60_000
            self.assertIsNotNone(message, "the store never met the full disk")
            for _ in range(3):
                _, message = d.run("put", "a", input="y" * 60_000, code=1)
                self.assertIn(d.store, message)
                self.assertIn("the disk is full; free some space", message)
                self.assertEqual(len(message.splitlines()), 1)
            # A daemon that is started now serves too.
            before = d.daemon_pid()
            os.kill(before, signal.SIGKILL)
            self.wait_for(lambda: d.daemon_pid() != before, "no successor")
            for name, value in values.items():
                self.assertEqual(d.read(name, "_value").decode(), value)
        os.unlink(filler)
        d.put("a", "y" * 60_000)
        d.put("new", "value")
        for name, value in values.items():
            self.assertEqual(d.read(name, "_value").decode(), value)
        self.assertEqual(d.read("a/_labels/AWSPREVIOUS/_value"), b"value")
        self.assertEqual(d.run("get", "new")[0], b"value")
        self.assertIn(b"intact", d.run("audit", "--verify")[0])
        d.unmount()


if __name__ == "__main__":
    unittest.main(verbosity=1)
