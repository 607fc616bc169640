"""Other processes' threads, held still or followed from system call to system call: ptrace(2)."""

import ctypes
import os
import struct
import time

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long

_CONT, _DETACH, _SYSCALL, _GETEVENTMSG = 7, 17, 24, 0x4201
_SEIZE, _INTERRUPT, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x420E
_SYSGOOD, _TRACECLONE = 1, 8
_EVENT_CLONE = 3
_ENTRY = 1
_WALL = 0x40000000  # __WALL of waitpid(2): threads too.


def _ptrace(what, tid, address=None, data=None):
    if _libc.ptrace(what, tid, address, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace: {os.strerror(error)}")


class HeldThread:
    """Holds one thread of another process still, for as long as the block lasts."""

    def __init__(self, tid):
        self.tid = tid

    def __enter__(self):
        _ptrace(_SEIZE, self.tid)
        _ptrace(_INTERRUPT, self.tid)
        os.waitpid(self.tid, _WALL)
        return self

    def __exit__(self, *_):
        try:
            _ptrace(_DETACH, self.tid)
        except ProcessLookupError:
            os.waitpid(self.tid, _WALL)  # It was killed; its process ends when that is known here.


class FollowedProcess:
    """Follows the system calls of the threads that a process is going to start.

    Ends with end(), after the process was killed.
    """

    def __init__(self, pid):
        self.pid = pid
        self.threads = {pid}
        _ptrace(_SEIZE, pid, None, _SYSGOOD | _TRACECLONE)

    def run_to_call(self, wanted, seconds=20):
        """Until a thread is at a system call for which `wanted(arguments)` is true.

        The thread, which is before its call, stays still, and is returned.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for tid in list(self.threads):
                event = self.stop_of(tid, os.WNOHANG)
                if event == "call":
                    arguments = self.arguments(tid)
                    if arguments is not None and wanted(arguments):
                        return tid
                if event is not None:
                    self.go_on(tid)
            time.sleep(0.0002)
        raise AssertionError("no thread made the system call")

    def finish_call(self, tid):
        """Until the call has returned; the thread stays still after it."""
        self.go_on(tid)
        if self.stop_of(tid, 0) != "call":
            raise AssertionError("the thread stopped for another reason")

    def release(self, tid):
        self.go_on(tid)

    def end(self):
        for tid in sorted(self.threads, key=lambda tid: tid == self.pid):
            try:
                while not os.WIFSIGNALED(os.waitpid(tid, _WALL)[1]):
                    pass
            except ChildProcessError:
                pass

    def go_on(self, tid):
        _ptrace(_CONT if tid == self.pid else _SYSCALL, tid)

    def stop_of(self, tid, options):
        """What stopped the thread: "call", "other", or None: it runs."""
        found, status = os.waitpid(tid, _WALL | options)
        if found == 0:
            return None
        if not os.WIFSTOPPED(status):
            raise AssertionError(f"thread {tid} ended")
        if status >> 16 == _EVENT_CLONE:
            new = ctypes.c_ulong()
            _ptrace(_GETEVENTMSG, tid, None, ctypes.addressof(new))
            self.threads.add(new.value)
        is_call = status >> 16 == 0 and os.WSTOPSIG(status) & 0x80
        return "call" if is_call else "other"

    def arguments(self, tid):
        """Those of the call that the thread is about to make; None: it has just made one."""
        info = ctypes.create_string_buffer(128)
        _ptrace(_GET_SYSCALL_INFO, tid, len(info), ctypes.addressof(info))
        if info.raw[0] != _ENTRY:
            return None
        return struct.unpack_from("=6Q", info.raw, 32)
