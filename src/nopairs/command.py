"""How scripts start and end: their arguments, one line for an error, no traceback without ``--debug``, the exit status."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nopairs.errors import MARK, NopairsError, one_line
from nopairs.files import only_writer

# 128 + the signal, as shells have it: SIGINT, SIGPIPE.
INTERRUPTED = 130
UNREAD = 141


def run(
    main: Callable[[argparse.Namespace], int | None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv`, call `main` and return the exit status; a `NopairsError` or `OSError` becomes one line on stderr.

    Adds the option ``--debug``, also to the parser's commands, which lets the traceback through. A script that has an option
    ``--out`` is the only writer of it while it runs. Where nobody reads the output any more, it ends without a word.
    """
    for one in _with_commands(parser):
        one.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
    parser.set_defaults(debug=False)
    args = parser.parse_args(argv)
    try:
        with _only_writer(args):
            status = main(args) or 0
        print(end="", flush=True)
        return status
    except (NopairsError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _is_unread():
            return UNREAD
        if args.debug:
            raise
        print(f"{parser.prog}{MARK}{one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if args.debug:
            raise
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _is_unread() -> bool:
    """Whether nobody reads standard output any more, as behind `| head`; then nothing more goes there."""
    output = select.poll()
    try:
        output.register(sys.stdout.fileno(), 0)
    except OSError:  # no file
        return False
    unread = any(event & select.POLLERR for _, event in output.poll(0))
    if unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at Python's end
    return unread


def positive_int(text: str) -> int:
    """Parse an argument that is a number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _with_commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _with_commands(command)


def _only_writer(args: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    out = getattr(args, "out", None)
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts for one training
    return only_writer(out) if isinstance(out, Path) and first else contextlib.nullcontext()
