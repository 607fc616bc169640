"""A real secretfs daemon with a real mount, for end-to-end tests.

Waits for readiness by waiting for `secretfs mount` to return, and fails the test that leaves a
mount or a process.
"""

import glob
import http.client
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import uuid

BINARY = os.environ["SECRETFS_BINARY"]
NOBODY = 65534


class Failed(Exception):
    """A secretfs command that ended otherwise than expected."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    def __init__(self, user=None, secret=None):
        """`user`: uid that owns the store and runs the daemon; None: whoever runs the tests."""
        self.user = user
        self.binary = BINARY
        self.command_prefix = []  # A program that starts secretfs, such as prlimit.
        self.root = tempfile.mkdtemp(prefix="secretfs-e2e-")
        os.chmod(self.root, 0o755)
        self.store = os.path.join(self.root, "store")
        self.key = os.path.join(self.root, "root-key")
        self.socket = os.path.join(self.root, "socket")
        self.mountpoint = os.path.join(self.root, "mnt")
        os.mkdir(self.mountpoint)
        if user is not None:
            # As udev makes it; where there is no udev, only root may open it.
            os.chmod("/dev/fuse", stat.S_IMODE(os.stat("/dev/fuse").st_mode) | 0o666)
            os.chown(self.root, user, user)
            os.chown(self.mountpoint, user, user)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": self.root,
            "SECRETFS_STORE": self.store,
            "SECRETFS_SOCKET": self.socket,
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": self.root,
        }
        self.keeper_pid = None
        self.run("init", "--store", self.store, "--root-key", f"file:{self.key}")
        if secret is not None:
            self.mount()
            self.put(*secret)

    def as_user(self, uid):
        if uid is None or uid == os.getuid():
            return []
        return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]

    def run(self, *arguments, input=b"", code=0, uid=None):
        """Runs `secretfs ARGUMENTS`; returns (stdout, stderr). It must exit with `code`."""
        if isinstance(input, str):
            input = input.encode()
        command = self.as_user(self.user if uid is None else uid)
        command += [*self.command_prefix, self.binary, *arguments]
        done = subprocess.run(
            command,
            input=input,
            capture_output=True,
            env=self.environment,
            timeout=120,
            check=False,
        )
        if code is not None and done.returncode != code:
            raise Failed(
                f"{arguments}: exit {done.returncode}, expected {code}: "
                f"{done.stdout[:500]!r} {done.stderr.decode(errors='replace')}"
            )
        return done.stdout, done.stderr.decode(errors="replace")

    def configure(self, text):
        """Makes `text` the config file of every command from now on."""
        path = os.path.join(self.root, "secretfs.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.environment["SECRETFS_CONFIG"] = path

    def mount(self, *options):
        self.run("mount", *options, "--store", self.store, self.mountpoint)
        self.keeper_pid = self.status()["keeper_pid"]

    def status(self):
        return json.loads(self.run("status", "--json")[0])

    def daemon_pid(self):
        """Of the daemon as it is now; its keeper replaces it when it dies."""
        return self.status()["pid"]

    def unmount(self):
        self.run("umount", self.mountpoint)
        self.wait_for_end()

    def wait_for_end(self):
        """Until the keeper's process is gone; a pidfd becomes readable then."""
        if self.keeper_pid is None:
            return
        pid, self.keeper_pid = self.keeper_pid, None
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if not select.select([fd], [], [], 60)[0]:
                raise Failed(f"the keeper {pid} did not end")
        finally:
            os.close(fd)

    def kill(self, daemon_pid):
        """SIGKILL for keeper and daemon, and what an operator does after it."""
        daemon = os.pidfd_open(daemon_pid)
        os.kill(self.keeper_pid, signal.SIGKILL)
        self.wait_for_end()
        try:
            signal.pidfd_send_signal(daemon, signal.SIGKILL)
        except ProcessLookupError:
            pass
        select.select([daemon], [], [], 60)
        os.close(daemon)
        subprocess.run(["umount", "-l", self.mountpoint], capture_output=True, check=False)

    def put(self, name, value, *options, **keywords):
        """Returns the version id."""
        return self.run("put", name, *options, input=value, **keywords)[0].decode().strip()

    def path(self, *parts):
        return os.path.join(self.mountpoint, *parts)

    def read(self, *parts):
        with open(self.path(*parts), "rb") as file:
            return file.read()

    def sh(self, script, uid=None, code=0):
        """Runs a shell script beside the mountpoint, which is $M; returns its output."""
        done = subprocess.run(
            self.as_user(uid) + ["sh", "-c", script],
            capture_output=True,
            text=True,
            env=dict(self.environment, M=self.mountpoint),
            cwd=self.root,
            timeout=120,
            check=False,
        )
        if code is not None and done.returncode != code:
            raise Failed(
                f"{script}: exit {done.returncode}: {done.stdout[:2000]}{done.stderr[:2000]}"
            )
        return done.stdout + done.stderr

    def call(self, operation, connection, **members):
        """One AWS JSON call as the test's own user; returns (status, body)."""
        connection.request(
            "POST",
            "/",
            json.dumps(members),
            {
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": operation if "." in operation else f"secretsmanager.{operation}",
            },
        )
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else {}

    def events(self):
        """The newest thousand audit events, oldest first."""
        return json.loads(self.run("audit", "--json", "--limit", "1000")[0])["Events"]

    def refused_calls(self):
        """Lines of processes that the system call filter ended; their successors hide that."""
        found = []
        for path in glob.glob(os.path.join(self.root, "**", "daemon.log*"), recursive=True):
            with open(path, encoding="utf-8", errors="replace") as log:
                found += [line.strip() for line in log if "scmp_sys_resolver" in line]
        return found

    def close(self):
        left = []
        if self.keeper_pid is not None:
            pid = self.keeper_pid
            self.run("umount", self.mountpoint, code=None)
            try:
                self.wait_for_end()
            except Failed:
                left.append(f"process {pid}")
                os.kill(pid, signal.SIGKILL)
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            if any(line.split()[4] == self.mountpoint for line in mounts):
                left.append(f"mount {self.mountpoint}")
                subprocess.run(["umount", "-l", self.mountpoint], capture_output=True, check=False)
        left += self.refused_calls()
        shutil.rmtree(self.root, ignore_errors=True)
        if left:
            raise Failed("left behind: " + ", ".join(left))


def token():
    return str(uuid.uuid4())
