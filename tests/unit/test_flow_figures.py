"""Tracing a flow, and the figures of what was traced."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from skimage import data

from nopairs.data.images import read_rgb, write_png
from nopairs.errors import NopairsError
from nopairs.files import write_csv
from nopairs.models import make, save_model
from nopairs.reporting import flow, style
from trace_flow import STEPS, main

OPTIONS = {
    "width": 8,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention": [],
    "norm": "none",
    "adapter_width": 4,
    "precision": "float32",
    "last_step": 0.6,
}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small flow that does something, traced on two crops of a photo."""
    folder = tmp_path_factory.mktemp("flow")
    torch.manual_seed(0)
    model = make("restorer", "resflow", OPTIONS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_model(folder / "model", "restorer", "resflow", OPTIONS, model.state_dict(), {})
    photo, rng = data.astronaut(), np.random.default_rng(0)
    rows = []
    for name, left in (("a.png", 0), ("b.png", 200)):
        clean = photo[:150, left : left + 140]
        noisy = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
        for side, image in (("clean", clean), ("degraded", noisy)):
            (folder / "data/test" / side).mkdir(parents=True, exist_ok=True)
            write_png(folder / "data/test" / side / name, np.ascontiguousarray(image))
            rows.append({"path": f"test/{side}/{name}", "role": "test", "scene": name})
    write_csv(folder / "data/index.csv", rows)
    arguments = {"model": folder / "model", "dataset": folder / "data", "threads": 1, "device": "cpu"}
    main(argparse.Namespace(**arguments, out=folder / "traced"))
    return folder / "traced"


def test_the_way_back_ends_nearer_with_more_steps(traced: Path) -> None:
    facts = flow.read_flow(traced)
    assert [row["steps"] for row in facts["steps"]] == list(STEPS)
    errors = [row["round_trip"] for row in facts["steps"]]
    assert all(more < fewer for fewer, more in itertools.pairwise(errors))
    assert all(row["seconds"] > 0 for row in facts["steps"]) and facts["spread"] > 0


def test_trajectories_begin_at_the_degraded_image(traced: Path) -> None:
    few, many = (read_rgb(traced / f"{steps}_100.png") for steps in ("04", "16"))
    assert np.array_equal(few, many)
    assert not np.array_equal(read_rgb(traced / "04_000.png"), few)
    for steps in ("04", "16"):  # at the same times
        drawn = sorted(path.stem[3:] for path in traced.glob(f"{steps}_*.png"))
        assert drawn == ["000", "060", "073", "087", "100"]
    assert not np.array_equal(read_rgb(traced / "draw_0.png"), read_rgb(traced / "draw_1.png"))


def test_figures_are_drawn(traced: Path, tmp_path: Path) -> None:
    method = "awgn+resflow"
    rows = [
        {"method": name, "metric": metric, "mean": value + k}
        for k, metric in enumerate(("psnr", "niqe"))
        for name, value in (("input", 14.0), ("awgn+dncnn", 30.0), (f"{method}_1", 31.0), (method, 29.0))
    ]
    points = {f"{method}_1": 1, method: 4}
    drawn = {
        "trajectories": flow.trajectories(traced, method),
        "draws": flow.draws(traced, method),
        "quality": flow.quality(pd.DataFrame(rows), points, flow.read_flow(traced)),
    }
    for name, figure in drawn.items():
        style.save(figure, tmp_path / f"{name}.png")
        assert read_rgb(tmp_path / f"{name}.png").std() > 5
    lines = drawn["quality"].axes[0].get_lines()
    assert list(lines[0].get_xdata()) == [1, 4] and list(lines[0].get_ydata()) == [31, 29]  # type: ignore[arg-type]
    # Not the input, beside which nothing else could be told apart.
    assert [line.get_label() for line in drawn["quality"].axes[1].get_lines()] == [
        "the flow, by steps",
        "awgn+dncnn",
    ]


def test_another_restorer_is_no_flow(tmp_path: Path, traced: Path) -> None:
    dncnn = {"depth": 2, "width": 2}
    save_model(tmp_path, "restorer", "dncnn", dncnn, make("restorer", "dncnn", dncnn).state_dict(), {})
    with pytest.raises(NopairsError, match="is no resflow"):
        main(
            argparse.Namespace(
                model=tmp_path, dataset=traced.parent / "data", threads=1, device="cpu", out=tmp_path / "out"
            )
        )


def test_what_was_not_traced_is_named(tmp_path: Path) -> None:
    write_png(tmp_path / "clean.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(NopairsError, match="no images along the way"):
        flow.trajectories(tmp_path, "awgn+resflow")
    (tmp_path / "flow.json").write_text("{}")
    with pytest.raises(NopairsError, match="trace the flow again"):
        flow.read_flow(tmp_path)
