"""What no file may say, be called, or leave out."""

import re
from fnmatch import fnmatch
from typing import NamedTuple

import source_tree
from source_tree import Finding, SourceTree, line_of

COLUMNS = 100

_TOP_LEVEL = {
    *("CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "CHANGELOG.md"),
    *("crypto", "store", "fs", "mount", "tests", "packaging"),
}
_DRAWER = re.compile(r"(?:^|[_.-])(utils?|common|helpers?|misc|managers?|handlers?)(?=[_.-]|$)")
_LINT = "tests/lint/*"


class Ban(NamedTuple):
    pattern: str
    what: str
    next_step: str
    allowed: tuple[str, ...] = ()  # Globs of files where the pattern is fine.
    only: tuple[str, ...] = ("*",)  # Globs of files that are looked at.


# Matched against C++ without comments and literals.
_CODE_BANS = [
    Ban(
        r"\bsystem_clock\b|\bgettimeofday\b|\bclock_gettime\b"
        r"|\btime\s*\(\s*(?:nullptr|NULL|0|&\w+)\s*\)",
        "hidden clock",
        "take a Clock& as a constructor argument (crypto/base/clock.h)",
        allowed=("crypto/base/clock.cc",),
    ),
    Ban(
        r"(?<![\w.>])(?:s?rand|rand_r|[dlm]rand48|random)\s*\(|\brandom_device\b"
        r"|\bgetrandom\b|\bRAND_(?:priv_)?bytes\b",
        "hidden randomness",
        "take a RandomSource& as a constructor argument (crypto/random.h)",
        allowed=("crypto/random.cc",),
    ),
    Ban(
        r"(?:\.|->)\s*detach\s*\(\s*\)|\bpthread_detach\b",
        "detached thread",
        "keep the std::jthread where mount/daemon can stop and join it",
    ),
    Ban(
        r"\b(?:secure_)?getenv\s*\(",
        "the environment is read outside mount/",
        "pass the value in through the room's Options",
        allowed=("mount/*", "tests/*"),
    ),
    Ban(
        r"(?<![\w.>])(?:std::|::)?v?printf\s*\(|\bputs\s*\(|\bputchar\s*\(|\bcout\b"
        r"|\bfprintf\s*\(\s*stdout\b|\bfputs\s*\([^;]*\bstdout\b|\bSTDOUT_FILENO\b",
        "standard output belongs to the CLI",
        "return the text, or call Log() (crypto/base/log.h)",
        allowed=("mount/cli*", "mount/main.cc", "tests/bench/*"),
    ),
    Ban(
        r"\bGTEST_SKIP\b|\bDISABLED_\w*",
        "switched-off test",
        "make it pass, or delete it; a skip counts as a failure",
    ),
    Ban(
        r"\bsleep_(?:for|until)\b|\bu?sleep\s*\(|\bnanosleep\b",
        "a test that sleeps for luck",
        "wait for the condition itself with tests/support/wait_until.h",
        allowed=("tests/support/wait_*", "tests/bench/*"),
        only=("tests/*",),
    ),
]

# Matched against the whole text of every file.
_TEXT_BANS = [
    Ban(
        r"\b(?:TODO|FIXME|XXX)\b",
        "a note for later",
        "do it now, or open an issue and leave no mark in the code",
        allowed=(_LINT,),
    ),
]

_WIDE = ("*.h", "*.cc", "*.py", "*.md", "*CMakeLists.txt", "*.cmake", "*.c")
_WIDE_EXEMPT = ("tests/vectors/*", "tests/fixtures/*", "tests/fuzz/corpus/*")


def _matches(path: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatch(path, glob) for glob in globs)


def _apply(ban: Ban, path: str, text: str) -> list[Finding]:
    if _matches(path, ban.allowed) or not _matches(path, ban.only):
        return []
    return [
        Finding(path, line_of(text, found.start()), f"{ban.what} ({found[0]})", ban.next_step)
        for found in re.finditer(ban.pattern, text)
    ]


def _names(path: str) -> list[Finding]:
    findings = []
    top = path.split("/")[0]
    if top not in _TOP_LEVEL and not top.startswith("."):
        step = "put it into one of the six folders"
        findings.append(Finding(path, 1, f"{top} does not belong at the top level", step))
    for part in path.split("/"):
        if drawer := _DRAWER.search(part):
            step = "name the file after what it does"
            findings.append(Finding(path, 1, f"'{drawer[1]}' in a file name is a drawer", step))
    return findings


def _columns(tree: SourceTree, path: str) -> list[Finding]:
    if _matches(path, _WIDE_EXEMPT) or not (_matches(path, _WIDE) or path in tree.scripts()):
        return []
    findings, fenced = [], False
    markdown = path.endswith(".md")
    for number, line in enumerate(tree.text(path).splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if markdown and (fenced or line.lstrip().startswith("|") or "://" in line):
            continue
        if len(line) > COLUMNS:
            step = "break the line"
            findings.append(Finding(path, number, f"{len(line)} columns, at most {COLUMNS}", step))
    return findings


def check(tree: SourceTree) -> list[Finding]:
    findings: list[Finding] = []
    for path in tree.paths:
        findings += _names(path)
        if not tree.is_text(path):
            continue
        text = tree.text(path)
        findings += _columns(tree, path)
        for ban in _TEXT_BANS:
            findings += _apply(ban, path, text)
        if path.endswith((".h", ".cc")):
            code = source_tree.code_only(text)
            for ban in _CODE_BANS:
                findings += _apply(ban, path, code)
            if path.endswith(".h") and "#pragma once\n" not in code:
                step = "make it the first line that is not a comment"
                findings.append(Finding(path, 1, "#pragma once is missing", step))
    return findings


if __name__ == "__main__":
    source_tree.run(check)
