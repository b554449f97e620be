"""Errors that a user can act on, and how scripts show them: one line, no traceback without ``--debug``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence


class NopairsError(Exception):
    """Something a user can mend: the message names the thing, what was expected, and what to do."""


def run(
    main: Callable[[argparse.Namespace], int | None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv`, call `main` and return the exit status; a `NopairsError` or `OSError` becomes one line on stderr.

    Adds the option ``--debug``, which lets the traceback through.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    try:
        return main(args) or 0
    except (NopairsError, OSError) as error:
        if args.debug:
            raise
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
