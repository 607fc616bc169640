"""C++ is formatted as .clang-format says, and shell scripts are shellcheck-clean."""

import re
import subprocess

import source_tree
from source_tree import Finding, SourceTree

_CLANG_FORMAT = "clang-format-19"
_SHELLCHECK = "shellcheck"
_LOCATION = re.compile(r"(?:\./)?(?P<path>[^\s:][^:\n]*):(?P<line>\d+):\d+: (?P<what>[^\n]+)")


def _run(tree: SourceTree, command: list[str], paths: list[str]) -> tuple[int, str]:
    """Exit status and output of `command` over `paths`; 127 if it is not installed."""
    if not paths:
        return 0, ""
    try:
        done = subprocess.run(command + paths, cwd=tree.root, capture_output=True, text=True)
    except FileNotFoundError:
        return 127, ""
    return done.returncode, done.stdout + done.stderr


def _findings(status: int, output: str, tool: str, next_step: str) -> list[Finding]:
    """One finding for each file that the tool names: its first."""
    if status == 0:
        return []
    if status == 127:
        step = "run packaging/install-dependencies --test"
        return [Finding("tests/lint/format_lint.py", 1, f"{tool} is not installed", step)]
    first: dict[str, Finding] = {}
    for match in _LOCATION.finditer(output):
        path = match["path"]
        step = next_step.format(path=path)
        first.setdefault(path, Finding(path, int(match["line"]), match["what"], step))
    failed = Finding(".clang-format", 1, f"{tool} failed: {output.strip()[:300]}", "run it by hand")
    return list(first.values()) or [failed]


def check(tree: SourceTree) -> list[Finding]:
    cpp = [path for path in tree.cpp() if not path.startswith("tests/fixtures/")]
    status, output = _run(tree, [_CLANG_FORMAT, "--dry-run", "--Werror"], cpp)
    findings = _findings(status, output, _CLANG_FORMAT, f"run {_CLANG_FORMAT} -i {{path}}")
    status, output = _run(tree, [_SHELLCHECK, "--format=gcc", "--external-sources"], tree.scripts())
    step = "change the script as the message says (shellcheck {path})"
    return findings + _findings(status, output, _SHELLCHECK, step)


if __name__ == "__main__":
    source_tree.run(check)
