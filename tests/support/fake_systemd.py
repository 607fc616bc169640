"""A service manager as small as can be: what systemd does for a unit with Type=notify and
FileDescriptorStoreMax=, so that a keeper can be killed and started again.
"""

import array
import fcntl
import os
import select
import signal
import socket
import subprocess
import time


class ServiceManager:
    def __init__(self, command, environment, directory):
        self.command = command
        self.environment = dict(environment)
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self.kept = {}  # name -> descriptor
        self.said = []
        self.process = None
        self.log_path = os.path.join(directory, "service.log")

    def start(self):
        """Starts the service with what is kept, and waits until it is ready."""
        names = list(self.kept)
        # A child gets its descriptors from 3 on, in the order of their names.
        high = [os.dup2(self.kept[name], 100 + i) for i, name in enumerate(names)]
        script = (
            "".join(f"exec {3 + i}<&{fd} {fd}<&-; " for i, fd in enumerate(high))
            + 'LISTEN_PID=$$ exec "$@"'
        )
        environment = dict(
            self.environment,
            NOTIFY_SOCKET=self.path,
            LISTEN_FDS=str(len(names)),
            LISTEN_FDNAMES=":".join(names),
        )
        self.said.clear()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", script, "bash", *self.command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
                pass_fds=high,
                start_new_session=True,
            )
        for fd in high:
            os.close(fd)
        self.wait_until(lambda: any("READY=1" in text for text in self.said))

    def hear(self, timeout):
        """Takes one message, if there is one in time."""
        if not select.select([self.socket], [], [], timeout)[0]:
            return False
        data, controls, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4))
        text = data.decode()
        fields = dict(line.split("=", 1) for line in text.splitlines())
        received = array.array("i")
        for level, kind, content in controls:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received.frombytes(content[: len(content) - len(content) % received.itemsize])
        if fields.get("FDSTORE") == "1":
            # systemd keeps none that cannot be watched for its end.
            assert not fcntl.fcntl(received[0], fcntl.F_GETFL) & os.O_PATH, fields
            self.forget(fields["FDNAME"])
            self.kept[fields["FDNAME"]] = received[0]
        elif fields.get("FDSTOREREMOVE") == "1":
            self.forget(fields["FDNAME"])
        self.said.append(text)
        return True

    def forget(self, name):
        if name in self.kept:
            os.close(self.kept.pop(name))

    def wait_until(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.hear(0.05) and self.process.poll() is not None and not condition():
                with open(self.log_path, encoding="utf-8") as log:
                    raise AssertionError(
                        f"the service ended with {self.process.returncode}: {log.read()}"
                    )
            assert time.monotonic() < deadline, "the service does not get there"

    def kill(self):
        """SIGKILL for the main process alone."""
        self.process.send_signal(signal.SIGKILL)
        return self.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self):
        """The exit status; what is said meanwhile is heard."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            self.hear(0.02)
            assert time.monotonic() < deadline, "the service does not end"
        while self.hear(0):
            pass
        return self.process.returncode

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for name in list(self.kept):
            self.forget(name)
        self.socket.close()
