"""What the lints read: the files of the repository, and C++ text without comments and strings."""

import argparse
import os
import re
import subprocess
import sys
from typing import Callable, Iterable, NamedTuple

ROOMS = ("crypto", "store", "fs", "mount")
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Finding(NamedTuple):
    path: str
    line: int
    what: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}: {self.next_step}"


class SourceTree:
    """Files below `root` that are tracked, or would be if added now; all files outside Git."""

    def __init__(self, root: str = REPOSITORY):
        self.root = root
        self.paths = sorted(path for path in self._list() if self._is_file(path))
        self._texts: dict[str, str] = {}

    def _is_file(self, path: str) -> bool:
        return os.path.isfile(os.path.join(self.root, path))

    def _list(self) -> Iterable[str]:
        if os.path.exists(os.path.join(self.root, ".git")):
            # The checkout may belong to someone else: a build as root in a container, say.
            git = ["git", "-c", f"safe.directory={self.root}", "-C", self.root]
            command = git + ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
            output = subprocess.run(command, check=True, capture_output=True).stdout
            return {name.decode() for name in output.split(b"\0") if name}
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if name not in ("build", "__pycache__")]
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in names]
        return found

    def text(self, path: str) -> str:
        if path not in self._texts:
            with open(os.path.join(self.root, path), "rb") as file:
                self._texts[path] = file.read().decode("utf-8", errors="replace")
        return self._texts[path]

    def is_text(self, path: str) -> bool:
        return "\0" not in self.text(path)

    def cpp(self) -> list[str]:
        return [path for path in self.paths if path.endswith((".h", ".cc"))]

    def scripts(self) -> list[str]:
        """Shell scripts, by their first line."""
        shebang = re.compile(r"#!.*\b(ba)?sh\b")
        return [path for path in self.paths if shebang.match(self.text(path)[:80])]


_TOKEN = re.compile(
    r"""(?P<line_comment>//(?:\\\n|[^\n])*)
      | (?P<block_comment>/\*.*?\*/)
      | (?P<raw>(?:u8|[uUL])?R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)")
      | (?P<include>^[ \t]*\#[ \t]*include[^\n]*)
      | (?P<number>(?<![A-Za-z0-9_])[0-9](?:'?[0-9A-Za-z_.])*)
      | (?P<string>"(?:\\.|[^"\\\n])*")
      | (?P<character>'(?:\\.|[^'\\\n])+')""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


def code_only(text: str) -> str:
    """C++ with comments and the contents of literals blanked; every line keeps its number."""

    def blank(match: re.Match) -> str:
        token = match.group(0)
        if match.lastgroup in ("include", "number"):
            return token
        newlines = "\n" * token.count("\n")
        if match.group("line_comment") or match.group("block_comment"):
            return " " + newlines
        return ('""' if token.endswith('"') else "' '") + newlines

    return _TOKEN.sub(blank, text)


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def run(check: Callable[[SourceTree], list[Finding]]) -> None:
    """The main function of a lint: prints the findings, exits with 1 if there are any."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--root", default=REPOSITORY, help="the tree to read")
    tree = SourceTree(parser.parse_args().root)
    findings = sorted(check(tree))
    for finding in findings:
        print(finding)
    print(f"{len(findings)} finding(s) in {len(tree.paths)} files")
    sys.exit(1 if findings else 0)
