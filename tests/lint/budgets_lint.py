"""How long a header, a source and a function may be: a ratchet whose allow-list only shrinks.

tests/lint/budgets_allowed.txt names what was too long when its line was written, one
`<lines> <path>` or `<lines> <path>:<function>` each. A line that is no longer needed, or allows
more than is used, fails the lint, and so does one that the last commit did not have.
"""

import os
import re
import subprocess
from typing import Iterator, NamedTuple

import source_tree
from source_tree import Finding, SourceTree, line_of

HEADER_LINES = 300
SOURCE_LINES = 600
FUNCTION_LINES = 70
ALLOWED = "tests/lint/budgets_allowed.txt"


class Function(NamedTuple):
    name: str
    line: int
    lines: int


_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_TYPE = re.compile(r"(?:template\s*<.*>\s*)?(?:typedef\s+)?(?:class|struct|union)\b", re.S)
_SIGNATURE_END = re.compile(r"\)\s*(?:const|noexcept|override|final|mutable|&&?|\s)*$")
_LABEL = re.compile(r"\s*(?:(?:public|private|protected)\s*:(?!:)\s*)*")


def _opens(head: str) -> str:
    """What a brace that follows `head` (the text since the last ; { or }) begins."""
    if re.match(r"(?:inline\s+)?namespace\b|extern\s+\"\"$", head):
        return "scope"
    if _TYPE.match(head) and not _SIGNATURE_END.search(head):
        return "scope"
    if "(" in head and not re.match(r"enum\b", head) and not head.endswith("="):
        return "function"
    return "other"


def _name(head: str) -> str:
    """`Class::Function`, or `Suite.Name` of a test, or `operator==`."""
    if test := re.search(r"\b(?:TEST|TEST_F|TEST_P|RC_GTEST_\w+)\s*\(\s*(\w+)\s*,\s*(\w+)", head):
        return f"{test[1]}.{test[2]}"
    found = re.search(r"(?:\b(?:\w+(?:<[^()]*>)?::)*)(?:~?\w+|operator\s*[^\s(]+)(?=\s*\()", head)
    return found[0] if found else "?"


def functions(text: str) -> Iterator[Function]:
    """The functions at namespace or class scope, each from its first line to its closing brace."""
    code = _DIRECTIVE.sub(lambda match: "\n" * match[0].count("\n"), source_tree.code_only(text))
    stack: list[tuple[str, str, int]] = []  # Kind, head, offset where the head begins.
    start = 0
    for token in re.finditer(r"[{};]", code):
        if token[0] == "{":
            inside = bool(stack) and stack[-1][0] != "scope"
            first = _LABEL.match(code, start).end()
            head = code[first : token.start()].rstrip()
            stack.append(("inside" if inside else _opens(head), head, first))
        elif token[0] == "}" and stack:
            kind, head, first = stack.pop()
            if kind == "function":
                line = line_of(code, first)
                yield Function(_name(head), line, line_of(code, token.start()) - line + 1)
        start = token.end()


class Excess(NamedTuple):
    key: str
    line: int
    lines: int
    budget: int


def _excesses(tree: SourceTree) -> Iterator[Excess]:
    for path in tree.cpp():
        text = tree.text(path)
        budget = HEADER_LINES if path.endswith(".h") else SOURCE_LINES
        lines = len(text.splitlines())
        if lines > budget:
            yield Excess(path, 1, lines, budget)
        for function in functions(text):
            if function.lines > FUNCTION_LINES:
                key = f"{path}:{function.name}"
                yield Excess(key, function.line, function.lines, FUNCTION_LINES)


def _parse_allowed(text: str) -> dict[str, tuple[int, int]]:
    """Key to (lines allowed, line of the list)."""
    allowed = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            lines, key = line.split(maxsplit=1)
            allowed[key.strip()] = (int(lines), number)
    return allowed


def _committed(tree: SourceTree) -> str | None:
    """The allow-list of the last commit; None if there is none to compare with."""
    if not os.path.exists(os.path.join(tree.root, ".git")):
        return None
    git = ["git", "-c", f"safe.directory={tree.root}", "-C", tree.root, "show", f"HEAD:{ALLOWED}"]
    shown = subprocess.run(git, capture_output=True, text=True)
    return shown.stdout if shown.returncode == 0 else None


def _grown(tree: SourceTree, allowed: dict[str, tuple[int, int]]) -> Iterator[Finding]:
    committed = _committed(tree)
    if committed is None:
        return
    before = _parse_allowed(committed)
    for key, (lines, number) in allowed.items():
        if lines > before.get(key, (0, 0))[0]:
            step = "the list only shrinks; split the code instead"
            yield Finding(ALLOWED, number, f"{key} is new or larger", step)


def check(tree: SourceTree) -> list[Finding]:
    allowed = _parse_allowed(tree.text(ALLOWED)) if ALLOWED in tree.paths else {}
    findings = list(_grown(tree, allowed))
    seen: dict[str, int] = {}
    for excess in _excesses(tree):
        seen[excess.key] = max(excess.lines, seen.get(excess.key, 0))
        if excess.lines > allowed.get(excess.key, (0, 0))[0]:
            what = f"{excess.key} has {excess.lines} lines, at most {excess.budget}"
            step = "split it where its idea changes"
            findings.append(Finding(excess.key.split(":")[0], excess.line, what, step))
    for key, (lines, number) in allowed.items():
        if seen.get(key, 0) < lines:
            now = f"write {seen[key]}" if key in seen else "delete this line"
            findings.append(Finding(ALLOWED, number, f"{key} no longer needs {lines} lines", now))
    return findings


if __name__ == "__main__":
    source_tree.run(check)
