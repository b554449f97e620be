"""In every Python process of a benchmarked run: notes when the process started and when its script's work began and ended.

Python imports this module by itself where the folder stands in PYTHONPATH. Work is what a script's `main` does; before it come
the interpreter's start and the imports.
"""

import json
import os
import time
from pathlib import Path

from nopairs import command

started = time.time()
run = command.run


def run_and_note(main, parser, argv=None):
    """Do what `nopairs.command.run` does, and append a line to the file that NOPAIRS_TRACE names."""

    def noted(args):
        begun = time.time()
        try:
            return main(args)
        finally:
            line = {"script": parser.prog, "started": started, "begun": begun, "ended": time.time()}
            with Path(os.environ["NOPAIRS_TRACE"]).open("a") as trace:
                trace.write(json.dumps(line) + "\n")

    return run(noted, parser, argv)


command.run = run_and_note
