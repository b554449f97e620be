"""Errors that a user can act on, and the one line that shows them."""

from __future__ import annotations

from pathlib import Path

MARK = ": error: "


class NopairsError(Exception):
    """Something a user can mend: the message names the thing, what was expected, and what to do."""


def one_line(error: Exception) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())


def told_in(log: Path) -> str | None:
    """Return the message of the error that a script wrote into its log last, if there is one."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(MARK, 1)[1] for line in reversed(lines) if MARK in line), None)
