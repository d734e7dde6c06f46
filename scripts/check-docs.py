#!/usr/bin/env python3
"""Checks the documentation against the tree: `.ci/run` calls it.

- No line of prose is longer than 120 characters. Rows of tables, fenced blocks and lone links cannot be wrapped.
- Relative links lead to a file that is there, and their anchors to a heading in it.
- A page or source file that is named, in the documentation or in a comment, is in the tree.
- No comment cites a page that only some know of (`DESIGN`).
- Every file of `tests/` is in docs/testing.md.

    python3 scripts/check-docs.py
"""

import pathlib
import re
import subprocess
import sys

LONGEST = 120
ROOT = pathlib.Path(__file__).resolve().parent.parent

LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
PAGE = re.compile(r"(?<![\w/:.-])[\w./-]*\w\.md\b")
# Pages that were never in the tree, however they are spelled.
ABSENT = re.compile(r"\bDESIGN\b")
SOURCE = re.compile(r"`([\w./-]+\.(?:rs|sh|py))`")


def tracked():
    """Every file of the repository, those not yet added too."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return [name for name in sorted(set(names)) if name and (ROOT / name).is_file()]


def prose(text):
    """The lines outside of fenced blocks, with their numbers."""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def anchors(text):
    """The anchors of a page's headings, as code hosts make them."""
    for _, line in prose(text):
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            yield words.replace(" ", "-")


def is_known(name, page, files):
    """Whether a named file is in the tree: by its path, beside the page, or by the end of its path."""
    beside = (ROOT / page).parent / name
    return beside.is_file() or any(file == name or file.endswith("/" + name) for file in files)


def check_page(page, files):
    """The complaints about one page of documentation."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for number, line in prose(text):
        wraps = not line.startswith("|") and not re.fullmatch(r"\s*(\[[^\]]+\]: )?\S+", line)
        if wraps and len(line) > LONGEST:
            yield f"{page}:{number}: {len(line)} characters, at most {LONGEST} are wanted"
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            if not file.exists():
                yield f"{page}:{number}: the link to {target} leads nowhere"
            elif anchor and anchor not in anchors(file.read_text(encoding="utf-8")):
                yield f"{page}:{number}: {target} has no such heading"
        for name in PAGE.findall(line) + SOURCE.findall(line) + ABSENT.findall(line):
            if not is_known(name, page, files):
                yield f"{page}:{number}: {name} is not in the tree"


def check_source(path, files):
    """The complaints about the pages that a source file names in its comments."""
    for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").split("\n"), 1):
        _, mark, comment = line.partition("//")
        for name in PAGE.findall(comment) + ABSENT.findall(comment) if mark else []:
            if not is_known(name, path, files):
                yield f"{path}:{number}: {name} is not in the tree"


def main():
    files = tracked()
    complaints = []
    for path in files:
        if path.endswith(".md"):
            complaints += check_page(path, files)
        elif path.endswith(".rs"):
            complaints += check_source(path, files)
    testing = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    for path in files:
        name = pathlib.PurePath(path)
        if name.parent == pathlib.PurePath("tests") and name.suffix == ".rs" and f"`{name.name}`" not in testing:
            complaints.append(f"docs/testing.md: {name} is not in it")
    print("\n".join(complaints) or "the documentation agrees with the tree")
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
