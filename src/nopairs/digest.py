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
        seen[file], modules = _syntax(file.read_text())
        waiting += [path for path in (SOURCE / module_file(name) for name in modules) if path.is_file()]
    text = "\n".join(f"{file.relative_to(SOURCE)} {seen[file]}" for file in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def module_file(module: str) -> str:
    """Return a module's file relative to the source folder."""
    return module.replace(".", "/") + ".py"


# Snakemake asks for the same modules' digests some hundred times while it plans: without the cache, seconds of parsing.
@functools.cache
def _syntax(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a digest of a module's syntax tree, and the dotted names in nopairs that it may import."""
    tree = ast.parse(text)
    modules = tuple(_imported(tree))
    return hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest(), modules


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nopairs":
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "nopairs")


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return tree
