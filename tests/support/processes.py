"""Processes and threads of a mount, as /proc shows them."""

import os
import time


def status_of(pid):
    """The fields of proc_pid_status(5)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def child(keeper, verb):
    """The pid of the keeper's child that runs as `secretfs VERB`; None: there is none now."""
    for pid in children(keeper):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
        except FileNotFoundError:
            continue
        if arguments[1:2] == [verb.encode()]:
            return pid
    return None


def threads(pid):
    """Name and state (a letter, see proc(5)) of each thread that has not ended, by thread id."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/stat", encoding="utf-8") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(tid)] = (name, rest.split()[0])
    return found


def thread(pid, name):
    """The id of the one thread of that name."""
    (found,) = [tid for tid, (named, _) in threads(pid).items() if named == name]
    return found


def wait_for(condition, what, seconds=60):
    """Until `condition()` is true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)
