"""What keeper, daemon and toucher may do, as the kernel says it, and that `status` agrees."""

import ctypes
import errno
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.environ["SECRETFS_SOURCE_DIR"], "tests", "support"))

from daemon import NOBODY, Daemon
from processes import children, status_of

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# linux/capability.h: KILL, SETGID, SETUID, SETPCAP, DAC_READ_SEARCH, IPC_LOCK, SYS_ADMIN.
KEEPER_CAPABILITIES = sum(1 << number for number in (2, 5, 6, 7, 8, 14, 21))
SYS_RESOURCE = 1 << 24
UNFILTERED = "[mount]\nsystem_call_filter = false\n"


def capabilities(status, name="CapEff"):
    return int(status[name], 16)


def filters_of(pid):
    """System call filters that it has beyond those of this process (a container's)."""
    own = status_of(os.getpid())
    return int(status_of(pid)["Seccomp_filters"]) - int(own["Seccomp_filters"])


def oom_score_adj(pid):
    with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


# Makes a daemon do what an attacker would: one daemon for each time that a file is there.
ATTACK = r"""
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>
static void *attack(void *unused) {
  while (unlink(TRIGGER) != 0) usleep(1000);
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  return unused;
}
__attribute__((constructor)) static void start(int argc, char **argv) {
  pthread_t thread;
  if (argc > 1 && strcmp(argv[1], "daemon") == 0) pthread_create(&thread, 0, attack, 0);
}
"""


def ways_into(pid):
    """What a process of this one's user can look at or trace, if anything."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for name in ("mem", "environ", "maps", "fd/0", "root/etc/passwd"):
        try:
            with open(f"/proc/{pid}/{name}", "rb"):
                found.append(name)
        except PermissionError:
            pass
    attach, seize = 16, 0x4206
    for request in (attach, seize):
        if libc.ptrace(request, pid, None, None) == 0 or ctypes.get_errno() != errno.EPERM:
            found.append(f"ptrace {request:#x}")
    return found


class ConfinementTest(unittest.TestCase):
    def start(self, config=None, prefix=(), **options):
        daemon = Daemon(**options)
        self.addCleanup(daemon.close)
        if config is not None:
            daemon.configure(config)
        daemon.command_prefix = list(prefix)
        daemon.mount()
        daemon.command_prefix = []
        daemon.put("a", "value")
        return daemon

    def processes(self, d, filtered=True):
        """Pids of daemon and toucher."""
        pid = d.daemon_pid()
        toucher = [child for child in children(d.keeper_pid) if child != pid]
        self.assertEqual(len(toucher), 1)
        # It gives up its privileges first thing, but nobody waits for that.
        deadline = time.monotonic() + 20
        while True:
            status = status_of(toucher[0])
            if status["NoNewPrivs"] == "1" and filters_of(toucher[0]) == int(filtered):
                return pid, toucher[0]
            self.assertLess(time.monotonic(), deadline, status)
            time.sleep(0.01)

    def check_has_nothing(self, pid, filtered=True):
        status = status_of(pid)
        for name in CAPABILITY_SETS:
            if name == "CapBnd" and status["Uid"].split()[0] == str(NOBODY):
                continue  # Nobody but root may shrink it; with no_new_privs it gives nothing.
            self.assertEqual(capabilities(status, name), 0, name)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(filters_of(pid), int(filtered))
        if filtered:
            self.assertEqual(status["Seccomp"], "2")

    def check_nobody_gets_in(self, pid, uid):
        script = "import confinement_test as test; print(test.ways_into(%d))" % pid
        command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        command += [sys.executable, "-B", "-c", script]
        environment = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout.strip(), "[]", done.stderr)

    def test_of_a_mount_of_roots(self):
        d = self.start()
        daemon, toucher = self.processes(d)
        keeper = status_of(d.keeper_pid)
        for name in ("CapPrm", "CapEff", "CapBnd"):
            mine = capabilities(status_of(os.getpid()), name)
            self.assertEqual(capabilities(keeper, name), KEEPER_CAPABILITIES & mine, name)
        for name in ("CapInh", "CapAmb"):
            self.assertEqual(capabilities(keeper, name), 0, name)
        self.assertEqual(keeper["NoNewPrivs"], "1")
        for pid in (daemon, toucher):
            self.check_has_nothing(pid)
            uid = int(status_of(pid)["Uid"].split()[0])
            self.assertNotEqual(uid, 0)
            self.check_nobody_gets_in(pid, uid)
        confinement = d.status()["confinement"]
        self.assertEqual(confinement["uid"], int(status_of(daemon)["Uid"].split()[0]))
        self.assertEqual(confinement["capabilities"], "none")
        self.assertIs(confinement["no_new_privileges"], True)
        self.assertIs(confinement["system_call_filter"], True)

    def test_of_an_ordinary_users_mount(self):
        d = self.start(user=NOBODY)
        daemon, toucher = self.processes(d)
        keeper = status_of(d.keeper_pid)
        self.assertEqual(capabilities(keeper), 0)
        self.assertEqual(keeper["NoNewPrivs"], "0", "fusermount3 is to be run")
        self.assertEqual(filters_of(d.keeper_pid), 0)
        for pid in (daemon, toucher):
            self.check_has_nothing(pid)
        for pid in (d.keeper_pid, daemon, toucher):
            self.check_nobody_gets_in(pid, NOBODY)
        confinement = d.status()["confinement"]
        self.assertEqual(confinement["uid"], NOBODY)
        self.assertIs(confinement["system_call_filter"], True)

    def test_a_successor_is_confined_alike(self):
        d = self.start()
        for replace in (lambda: os.kill(d.daemon_pid(), signal.SIGKILL), lambda: d.run("upgrade")):
            replace()
            self.assertEqual(d.read("a/_value"), b"value")
            daemon, _ = self.processes(d)
            self.check_has_nothing(daemon)

    def test_without_the_filter_status_says_so(self):
        d = self.start(config=UNFILTERED)
        daemon, toucher = self.processes(d, filtered=False)
        for pid in (daemon, toucher):
            self.check_has_nothing(pid, filtered=False)
        self.assertIs(d.status()["confinement"]["system_call_filter"], False)
        out, _ = d.run("status")
        self.assertIn(b"confinement.system_call_filter\tfalse\n", out)

    def test_a_call_that_is_not_listed_ends_the_daemon_and_is_logged(self):
        d = Daemon()
        self.addCleanup(shutil.rmtree, d.root, ignore_errors=True)
        trigger = os.path.join(d.root, "attack", "trigger")
        os.mkdir(os.path.dirname(trigger))
        os.chmod(os.path.dirname(trigger), 0o777)
        library = os.path.join(d.root, "attack.so")
        compiler = ["gcc", "-shared", "-fPIC", f'-DTRIGGER="{trigger}"', "-xc", "-", "-o", library]
        subprocess.run(compiler, input=ATTACK, text=True, check=True)
        d.command_prefix = ["env", f"LD_PRELOAD={library}"]
        d.mount()
        d.command_prefix = []
        d.put("a", "value")
        before = d.daemon_pid()
        ended = os.pidfd_open(before)
        with open(trigger, "wb"):
            self.assertTrue(select.select([ended], [], [], 20)[0])
        os.close(ended)
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertNotEqual(d.daemon_pid(), before)
        self.assertEqual(d.status()["last_end"], f"was killed by signal {signal.SIGSYS.value}")
        lines = d.refused_calls()
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], r"system call (101|117) ")  # ptrace() of x86_64 and arm64.
        d.unmount()

    def test_the_keeper_is_spared_and_nobody_else(self):
        before = oom_score_adj(os.getpid())
        # Whoever made it lower may do so again without being privileged.
        d = self.start(prefix=["choom", "-n", str(before + 100), "--"])
        spared = capabilities(status_of(os.getpid())) & SYS_RESOURCE
        self.assertEqual(oom_score_adj(d.keeper_pid), -1000 if spared else before + 100)
        for pid in self.processes(d):
            self.assertEqual(oom_score_adj(pid), before + 100)
        os.kill(d.daemon_pid(), signal.SIGKILL)
        self.assertEqual(d.read("a/_value"), b"value")
        self.assertEqual(oom_score_adj(d.daemon_pid()), before + 100)

    def test_memory_that_is_not_locked_is_told(self):
        d = self.start(user=NOBODY, prefix=["prlimit", "--memlock=0:0"])
        memory = d.status()["secret_memory"]
        self.assertIs(memory["locked"], False)
        self.assertLess(memory["locked_bytes"], memory["reserved_bytes"])
        deadline = time.monotonic() + 20
        while "secret memory are locked" not in self.log(d):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        # Nor can memory keep the root key then, so a successor reads it from its file.
        self.assertIn("reads the root key itself", self.log(d))
        self.assertIs(d.status()["root_key_kept"], False)
        os.kill(d.daemon_pid(), signal.SIGKILL)
        self.assertEqual(d.sh("cat $M/a/_value", uid=NOBODY), "value")

    def test_locked_memory_is_told(self):
        d = self.start()
        memory = d.status()["secret_memory"]
        self.assertIs(memory["locked"], True)
        self.assertEqual(memory["locked_bytes"], memory["reserved_bytes"])
        self.assertNotIn("LimitMEMLOCK", self.log(d))

    @staticmethod
    def log(d):
        with open(os.path.join(d.store, "daemon.log"), encoding="utf-8") as file:
            return file.read()

    def test_what_the_kernel_can_do_is_told(self):
        d = self.start()
        status = d.status()
        self.assertEqual(status["kernel"]["release"], os.uname().release)
        major, minor = status["kernel"]["fuse_protocol"].split(".")
        self.assertEqual(major, "7")
        self.assertGreaterEqual(int(minor), 31)
        self.assertIs(status["kernel"]["memfd_secret"], True)
        self.assertIs(status["root_key_kept"], True)
        self.assertIs(status["inotify_events"], True)
        release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
        self.assertIs(status["kernel"]["resend"], release >= (6, 9))


if __name__ == "__main__":
    unittest.main(verbosity=1)
