"""Who may include what: the arrows crypto <- store <- fs <- mount, and the third-party headers."""

import re
from fnmatch import fnmatch

import source_tree
from source_tree import ROOMS, Finding, SourceTree, line_of

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)

# Third-party headers and the files that may name them (DESIGN: rooms and arrows).
_THIRD_PARTY = [
    ("openssl/*", ["crypto/*.cc", "tests/crypto/*", "tests/bench/*"]),
    ("intel-ipsec-mb.h", ["crypto/*.cc"]),
    ("argon2.h", ["crypto/*.cc", "tests/crypto/*"]),
    ("lmdb.h", ["store/lmdb_env.cc", "tests/store/*", "tests/bench/*"]),
    ("nlohmann/*", ["store/secret_json.*", "store/key_policy.cc", "mount/aws_*", "tests/*"]),
    ("linux/fuse.h", ["fs/fuse_*", "mount/*", "tests/*"]),
    ("fuse*", ["fs/fuse_*", "tests/fs/*", "tests/bench/*", "tests/fuzz/*", "tests/support/*"]),
    ("toml++/*", ["mount/config.cc"]),
    ("microhttpd.h", ["mount/http_server.cc"]),
    ("CLI/*", ["mount/cli*.cc", "mount/main.cc"]),
    ("systemd/*", ["mount/*"]),
    ("gtest/*", ["tests/*"]),
    ("gmock/*", ["tests/*"]),
    ("rapidcheck*", ["tests/*"]),
    ("benchmark/*", ["tests/bench/*"]),
]

# The language and the operating system, open to all: C++ headers have no extension.
_SYSTEM = re.compile(r"[a-z0-9_]+|(?:sys|linux|net|netinet|arpa|asm|bits)/[a-z0-9_]+\.h")
_SYSTEM_C = set(
    """byteswap crypt dirent dlfcn elf endian errno execinfo fcntl fnmatch ftw getopt glob grp
    ifaddrs inttypes langinfo limits link locale malloc mntent netdb poll pthread pwd regex sched
    semaphore signal spawn stdarg stddef stdint stdio stdlib string strings syslog termios time
    ucontext unistd wordexp""".split()
)

_BASE = "crypto/base/"
_BASE_FILES = {"check", "result", "bytes", "clock", "mutex", "unique_fd", "log"}
_STORE_DOOR = "store/secret_store.h"


def _includes(text: str) -> list[tuple[int, str, str]]:
    """Line, bracket and header of each include; those in comments do not count."""
    code = source_tree.code_only(text)
    return [(line_of(code, m.start(1)), m[1], m[2].strip()) for m in _INCLUDE.finditer(code)]


def _visible_rooms(path: str) -> tuple[str, ...]:
    """The folders whose headers `path` may include."""
    parts = path.split("/")
    if parts[0] in ROOMS:
        return ROOMS[: ROOMS.index(parts[0]) + 1]
    if parts[0] == "tests" and parts[1] in ROOMS:
        return (*ROOMS[: ROOMS.index(parts[1]) + 1], "tests")
    return (*ROOMS, "tests") if parts[0] == "tests" else ROOMS


def _own_header(tree: SourceTree, path: str, line: int, header: str) -> list[Finding]:
    room = header.split("/")[0]
    if header not in tree.paths:
        step = "write the path from the repository's root, as in \"store/secret.h\""
        return [Finding(path, line, f'"{header}" is no file of this tree', step)]
    visible = _visible_rooms(path)
    if room not in visible:
        step = "move the code, or pass what it needs as an argument from the right-hand room"
        what = f"{room}/ is not visible here (only {', '.join(visible)})"
        return [Finding(path, line, what, step)]
    if header == _STORE_DOOR and not path.startswith(("store/", "tests/")):
        step = "go through store/secret_service.h, which authorises and audits"
        return [Finding(path, line, f"{header} is behind the one door", step)]
    return []


def _foreign_header(path: str, line: int, header: str) -> list[Finding]:
    for pattern, allowed in _THIRD_PARTY:
        if fnmatch(header, pattern):
            if any(fnmatch(path, glob) for glob in allowed):
                return []
            step = f"only {', '.join(allowed)} may; use what those files offer"
            return [Finding(path, line, f"<{header}> is not allowed here", step)]
    if _SYSTEM.fullmatch(header) or header.removesuffix(".h") in _SYSTEM_C:
        return []
    step = "use quotes for our own files; name a new library in _THIRD_PARTY of this lint"
    return [Finding(path, line, f"<{header}> is unknown", step)]


def _module(path: str) -> str:
    return path.rsplit(".", 1)[0]


def _cycles(uses: dict[str, set[str]]) -> list[list[str]]:
    """One cycle for each module that a depth-first search finds on its own path."""
    cycles, done = [], set()

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            cycles.append(trail[trail.index(module) :])
        elif module not in done:
            for used in sorted(uses.get(module, ())):
                visit(used, trail + [module])
            done.add(module)

    for module in sorted(uses):
        visit(module, [])
    return cycles


def check(tree: SourceTree) -> list[Finding]:
    findings: list[Finding] = []
    uses: dict[str, set[str]] = {}
    for path in tree.cpp():
        if path.startswith(_BASE) and _module(path)[len(_BASE) :] not in _BASE_FILES:
            step = "put it in the room that needs it; the floor is a closed list"
            findings.append(Finding(path, 1, f"{_BASE} holds only {sorted(_BASE_FILES)}", step))
        module = uses.setdefault(_module(path), set())
        for line, bracket, header in _includes(tree.text(path)):
            if bracket == '"':
                findings += _own_header(tree, path, line, header)
                module.update({_module(header)} - {_module(path)})
            else:
                findings += _foreign_header(path, line, header)
    for cycle in _cycles(uses):
        what = "circular includes " + " -> ".join(cycle + cycle[:1])
        step = "move what both need into a third file, below both"
        findings.append(Finding(cycle[0], 1, what, step))
    return findings


if __name__ == "__main__":
    source_tree.run(check)
