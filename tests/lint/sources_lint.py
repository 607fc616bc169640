"""Every .cc file is in a CMake list: one that is not is never built, and a test never run."""

import re

import source_tree
from source_tree import Finding, SourceTree

_LISTS = {"": "CMakeLists.txt", "tests/": "tests/CMakeLists.txt"}
_COMMENT = re.compile(r"#[^\n]*")
_SOURCE = re.compile(r"[\w./+-]+\.cc\b")


def check(tree: SourceTree) -> list[Finding]:
    findings, built = [], set()
    for prefix, cmake in _LISTS.items():
        if cmake not in tree.paths:
            continue
        lines = tree.text(cmake).splitlines()
        for number, line in enumerate(lines, 1):
            for name in _SOURCE.findall(_COMMENT.sub("", line)):
                built.add(prefix + name)
                if prefix + name not in tree.paths:
                    step = "delete the line, or add the file"
                    findings.append(Finding(cmake, number, f"{name} does not exist", step))
    for path in tree.paths:
        if path.endswith(".cc") and path not in built and not path.startswith("tests/fixtures/"):
            cmake = _LISTS["tests/" if path.startswith("tests/") else ""]
            findings.append(Finding(path, 1, "is not built", f"list it in {cmake}"))
    return findings


if __name__ == "__main__":
    source_tree.run(check)
