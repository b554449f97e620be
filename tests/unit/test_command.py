"""How scripts end: one line for an error, one writer of an output, the exit status."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from nopairs import command, errors
from nopairs.errors import NopairsError


def test_a_script_is_the_only_writer_of_its_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def parser() -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog="script")
        parser.add_argument("--out", type=Path)
        return parser

    arguments = ["--out", str(tmp_path / "out")]

    def nested(args: argparse.Namespace) -> int:
        return command.run(lambda _: 0, parser(), arguments)

    assert command.run(nested, parser(), arguments) == 1
    assert "another process is writing it" in capsys.readouterr().err
    assert command.run(lambda _: 0, parser(), arguments) == 0
    assert not list(tmp_path.iterdir())


def test_messages_are_one_line_and_found_in_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: argparse.Namespace) -> None:
        raise NopairsError("first\n  second")

    assert command.run(fail, argparse.ArgumentParser(prog="script"), []) == 1
    log = tmp_path / "log"
    log.write_text("step 1\n" + capsys.readouterr().err + "later\n")
    assert errors.told_in(log) == "first second"
    log.write_text("step 1\n")
    assert errors.told_in(log) is None and errors.told_in(tmp_path / "absent") is None


def test_interruption_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: argparse.Namespace) -> None:
        raise KeyboardInterrupt

    assert command.run(interrupt, argparse.ArgumentParser(prog="script"), []) == command.INTERRUPTED
    assert capsys.readouterr().err == "script: interrupted\n"


@pytest.mark.parametrize("lines", [1, 10_000])
def test_it_ends_without_a_word_where_nobody_reads(
    lines: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    def show(_: argparse.Namespace) -> None:
        for line in range(lines):
            print(line)

    with os.fdopen(writer, "w") as unread:
        monkeypatch.setattr("sys.stdout", unread)
        assert command.run(show, argparse.ArgumentParser(prog="script"), []) == command.UNREAD
    assert capsys.readouterr().err == ""


def test_a_pipe_that_broke_elsewhere_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: argparse.Namespace) -> None:
        raise BrokenPipeError("a worker is gone")

    assert command.run(fail, argparse.ArgumentParser(prog="script"), []) == 1
    assert "a worker is gone" in capsys.readouterr().err
