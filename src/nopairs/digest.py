"""Digests of code: what makes a job's result old when a module that it imports has changed."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent


def code_digest(*files: str | Path) -> str:
    """Return a digest of Python files and of every nopairs module that they import, directly or not.

    Comments, docstrings and layout do not count: only the syntax tree does. `files` are relative to the source folder.
    """
    seen: dict[Path, str] = {}
    waiting = [SOURCE / file for file in files]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen[file], imported = _read(file, file.stat().st_mtime_ns)
        waiting += imported
    text = "\n".join(f"{file.relative_to(SOURCE)} {seen[file]}" for file in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def module_file(module: str) -> str:
    """Return a module's file relative to the source folder."""
    return module.replace(".", "/") + ".py"


@functools.cache
def _read(file: Path, _changed: int) -> tuple[str, tuple[Path, ...]]:
    """Return a file's syntax tree as text, and the nopairs modules that it imports; files are parsed once a process."""
    tree = ast.parse(file.read_text())
    imported = tuple(_imported(tree))
    return ast.dump(_without_docstrings(tree)), imported


def _imported(tree: ast.AST) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nopairs":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "nopairs"]
        else:
            continue
        # A module or a package; not nopairs itself, which holds the version alone.
        packages = (f"{name}.__init__" for name in names if name != "nopairs")
        files = (SOURCE / module_file(name) for name in (*names, *packages))
        yield from (file for file in files if file.is_file())


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return tree
