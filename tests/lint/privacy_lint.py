"""No file names the machine it was written on: private paths, package registries."""

import re

import source_tree
from source_tree import Finding, SourceTree, line_of

_PRIVATE = [
    (r"(?<![\w.-])/work/[\w.-]*", "a path of one machine", "use a path relative to the repository"),
    (r"/home/(?!user\b|app\b|alice\b|bob\b)\w+", "somebody's home", "write ~ or $HOME"),
    (
        r"\b(?:[\w-]+\.)*(?:artifactory|jfrog|nexus)[\w-]*\.[a-z]+"
        r"|\bregistry(?:-1)?\.[a-z]\w*\.[a-z]+|\bregistry\.[\w-]+(?:\.[\w-]+)*:\d+"
        r"|\b(?:index\.)?docker\.io\b|\bghcr\.io\b|\bquay\.io\b|\bgcr\.io\b"
        r"|\bpypi\.org\b|\bproxy\.golang\.org\b|\bindex\.crates\.io\b|\bdeb\.debian\.org\b",
        "a package registry's host",
        "name the package, and let each machine's own configuration find it",
    ),
]


def check(tree: SourceTree) -> list[Finding]:
    findings = []
    for path in tree.paths:
        if path.startswith("tests/lint/") or not tree.is_text(path):
            continue
        text = tree.text(path)
        for pattern, what, step in _PRIVATE:
            for match in re.finditer(pattern, text):
                line = line_of(text, match.start())
                findings.append(Finding(path, line, f"{what} ({match[0]})", step))
    return findings


if __name__ == "__main__":
    source_tree.run(check)
