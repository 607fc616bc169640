#!/usr/bin/python3
"""Measures secretfs against the null file system and its peers, interleaved in one run.

    bench.py BUILD_DIRECTORY [--seconds 0.5] [--rounds 9] [--size 64|65536] [--threads 1]
             [--pin] [--pause 0] [--no-peers] [--scale N]

Prints a line for each file system: its median rate, and the ratio to the null file system of the
same round (median, lowest, highest). Rates depend on the machine and the moment; the ratios are the
result. `--pin` puts every program on CPU 0, which takes the scheduler's choices out of the
comparison. On a machine that is busy with other work the two still suffer unequally; what helps is
realtime scheduling, with pauses because the kernel lets it have 95 % of each second:

    chrt -f 5 bench.py BUILD_DIRECTORY --pin --seconds 0.2 --pause 0.25

`--scale N` compares a store of N secrets with one of 1,000 instead. Needs root or
fusermount3; peers that are not installed are left out and named.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PASSWORD = "benchmark"


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options)


class Mount:
    """A mounted file system with the file that is read; leaves nothing behind."""

    def __init__(self, name, root):
        self.name = name
        self.directory = os.path.join(root, name)
        self.mountpoint = os.path.join(self.directory, "mnt")
        os.makedirs(self.mountpoint)
        self.paths = []

    def close(self):
        subprocess.run(["umount", "-l", self.mountpoint], capture_output=True)


class Null(Mount):
    def __init__(self, root, build, size):
        super().__init__("null", root)
        self.process = subprocess.Popen(
            [os.path.join(build, "tests/null_fs"), self.mountpoint],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline().strip() == "ready"
        self.paths = [f"{self.mountpoint}/bench/{'s64k' if size > 64 else 's'}/_value"]

    def close(self):
        super().close()
        self.process.wait(10)
        self.process.stdout.close()


class Secretfs(Mount):
    def __init__(self, root, build, size, name="secretfs", secrets=0):
        super().__init__(name, root)
        self.binary = os.path.join(build, "secretfs")
        store = os.path.join(self.directory, "store")
        self.environment = dict(
            os.environ, SECRETFS_SOCKET=os.path.join(self.directory, "socket"), SECRETFS_STORE=store
        )
        self.secretfs("init", "--store", store, "--root-key", f"file:{store}.key")
        if secrets:
            run(os.path.join(build, "tests/fill_store"), store, f"{store}.key", str(secrets))
        start = time.monotonic()
        self.secretfs("mount", "--store", store, self.mountpoint)
        self.ready_ms = (time.monotonic() - start) * 1000
        if secrets:
            # A thousand of them, spread over the store.
            step = max(secrets // 1000, 1)
            self.paths = [
                f"{self.mountpoint}/bench/{i // 1000}/s{i}/_value" for i in range(0, secrets, step)
            ][:1000]
        else:
            self.secretfs("put", "bench/s", input="x" * size)
            self.paths = [f"{self.mountpoint}/bench/s/_value"]

    def secretfs(self, *arguments, **options):
        return run(self.binary, *arguments, env=self.environment, **options)

    def resident_mib(self):
        """Private memory and mapped page cache."""
        pid = json.loads(self.secretfs("status", "--json").stdout)["pid"]
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            sizes = dict(line.split(":", 1) for line in status)
        return tuple(int(sizes[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))

    def close(self):
        subprocess.run(
            [self.binary, "umount", self.mountpoint], env=self.environment, capture_output=True
        )
        super().close()


class Peer(Mount):
    """An encrypting file system with one plain file in it."""

    def __init__(self, root, name, start, size):
        super().__init__(name, root)
        self.cipher = os.path.join(self.directory, "cipher")
        os.makedirs(self.cipher)
        start(self)
        path = os.path.join(self.mountpoint, "value")
        with open(path, "w", encoding="ascii") as file:
            file.write("x" * size)
        self.paths = [path]


def start_gocryptfs(peer):
    password = os.path.join(peer.directory, "password")
    with open(password, "w", encoding="ascii") as file:
        file.write(PASSWORD)
    run("gocryptfs", "-q", "-init", "-passfile", password, peer.cipher)
    run("gocryptfs", "-q", "-passfile", password, peer.cipher, peer.mountpoint)


def start_encfs(peer):
    run("encfs", "--standard", "--stdinpass", peer.cipher, peer.mountpoint, input=PASSWORD)


def start_cryfs(peer):
    run(
        "cryfs",
        peer.cipher,
        peer.mountpoint,
        input=PASSWORD,
        env=dict(
            os.environ,
            CRYFS_FRONTEND="noninteractive",
            CRYFS_NO_UPDATE_CHECK="true",
            CRYFS_LOCAL_STATE_DIR=os.path.join(peer.directory, "state"),
        ),
    )


def start_securefs(peer):
    run("securefs", "create", "--pass", PASSWORD, peer.cipher)
    run(
        "securefs",
        "mount",
        "-b",
        "--log",
        os.path.join(peer.directory, "log"),
        "--pass",
        PASSWORD,
        peer.cipher,
        peer.mountpoint,
    )
    for _ in range(500):
        if os.path.ismount(peer.mountpoint):
            return
        time.sleep(0.01)
    raise RuntimeError("securefs did not mount")


PEERS = {
    "gocryptfs": start_gocryptfs,
    "encfs": start_encfs,
    "cryfs": start_cryfs,
    "securefs": start_securefs,
}


def measure(options, mount, seconds):
    time.sleep(options.pause)
    client = os.path.join(options.build, "tests/read_client")
    done = run(client, str(seconds), str(options.threads), *mount.paths)
    return float(done.stdout)


def interleave(options, mounts):
    """Rates by name; the first mount is the base of the ratios."""
    rates = {mount.name: [] for mount in mounts}
    for mount in mounts:
        measure(options, mount, options.seconds / 5)  # Warm.
    for round_number in range(options.rounds):
        # Each round starts elsewhere, so that no one always follows the same neighbour.
        shift = round_number % len(mounts)
        for mount in mounts[shift:] + mounts[:shift]:
            rates[mount.name].append(measure(options, mount, options.seconds))
    base = rates[mounts[0].name]
    print(
        f"{'file system':<14}{'reads/s':>10}   "
        f"ratio to {mounts[0].name}: median (lowest .. highest)"
    )
    for mount in mounts:
        ratios = sorted(rate / one for rate, one in zip(rates[mount.name], base))
        print(
            f"{mount.name:<14}{statistics.median(rates[mount.name]):>10.0f}   "
            f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} .. {ratios[-1]:.3f})",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--scale", type=int, default=0)
    options = parser.parse_args()
    if options.pin:
        os.sched_setaffinity(0, {0})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    root = tempfile.mkdtemp(prefix="secretfs-bench-")
    os.chmod(root, 0o711)  # The daemon's user has to reach its store.
    mounts = []
    try:
        if options.scale:
            mounts.append(Secretfs(root, options.build, 64, "thousand", 1000))
            mounts.append(Secretfs(root, options.build, 64, "scaled", options.scale))
            interleave(options, mounts)
            busy = mounts[1].resident_mib()
            time.sleep(2)  # The daemon's upkeep comes each second.
            rest = mounts[1].resident_mib()
            print(f"{options.scale} secrets: ready in {mounts[1].ready_ms:.0f} ms; resident:")
            print(f"after reading {busy[0]:.1f} MiB private, {busy[1]:.1f} MiB of page cache;")
            print(f"2 s later {rest[0]:.1f} MiB private, {rest[1]:.1f} MiB of page cache")
            return
        print(
            f"{options.size} bytes, {options.threads} reader(s), "
            f"{'all on one CPU' if options.pin else 'unpinned'}, {options.rounds} rounds"
        )
        mounts.append(Null(root, options.build, options.size))
        mounts.append(Secretfs(root, options.build, options.size))
        for name, start in {} if options.no_peers else PEERS.items():
            if shutil.which(name):
                mounts.append(Peer(root, name, start, options.size))
            else:
                print(f"{name} is not installed and is left out")
        interleave(options, mounts)
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd}: {error.stdout}{error.stderr}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        for mount in reversed(mounts):
            mount.close()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
