"""The accounting of the benchmarks: what counts as work, and what surrounds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from table import Row, markdown  # noqa: E402

from workflow import account, covered, shortened  # noqa: E402


def job(script: str, started: float, begun: float, ended: float) -> dict[str, object]:
    return {"script": script, "started": started, "begun": begun, "ended": ended}


def test_time_is_at_work_once_however_many_work() -> None:
    assert covered([]) == 0
    assert covered([(5, 6), (0, 3), (1, 2), (2.5, 4)]) == pytest.approx(5)


def test_a_start_costs_only_while_nobody_works() -> None:
    jobs = [job("a.py", 2, 3, 10), job("b.py", 4, 6, 8), job("a.py", 11, 13, 14)]
    cost = account(0, 16, jobs)
    assert cost.wall == 16 and cost.work == 8 and cost.around == 8
    assert cost.planning == 2
    assert cost.starting == 1 + 2  # of the first and the last job; the second started while the first worked
    assert cost.by_script == {"a.py": (2, 3, 8), "b.py": (1, 2, 2)} and cost.jobs == 3


def test_every_training_is_shortened_and_nothing_else_changes() -> None:
    config = {
        "degradations": {"awgn": {"kind": "awgn"}, "ludvae": {"training": {"steps": 800, "lr": 1}}},
        "restorers": {"bm3d": {"kind": "bm3d"}, "dncnn": {"training": {"steps": 2000}}},
    }
    short = shortened(config)
    assert set(short) == {"selection", "degradations", "restorers"}
    assert short["degradations"] == {"ludvae": {"training": {"steps": short["selection"]["steps"]}}}
    assert set(short["restorers"]) == {"dncnn"}


def test_scripts_note_their_work(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    paths = os.pathsep.join((str(ROOT / "benchmarks/hooks"), str(ROOT / "src")))
    command = [sys.executable, ROOT / "src/measure_noise.py", "--clean", tmp_path, "--degraded", tmp_path]
    environment = {**os.environ, "PYTHONPATH": paths, "NOPAIRS_TRACE": str(trace)}
    done = subprocess.run(
        [*command, "--out", tmp_path / "out"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and "no PNG in it" in done.stderr
    noted = json.loads(trace.read_text())
    assert noted["script"] == "measure_noise.py"
    assert noted["started"] <= noted["begun"] <= noted["ended"]


def test_a_bar_that_is_missed_stands_out() -> None:
    rows = [Row("a", "1 s", "2 s", "0.50", "under 1", True), Row("b", "3 s", "2 s", "1.50", "under 1", False)]
    lines = markdown([*rows, Row("c", "1", "1", "1.00")]).splitlines()
    assert lines[2].endswith("| yes |") and lines[3].endswith("| **no** |") and lines[4].endswith("|  |  |")
