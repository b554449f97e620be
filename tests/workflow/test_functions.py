"""Which modules a job's digest holds: a change of one of them makes its results old."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nopairs import registry
from nopairs.priors.operators import ESTIMATED

FUNCTIONS = Path(__file__).resolve().parents[2] / "workflow/functions"


def functions(file: str, **settings: Any) -> dict[str, Any]:
    """What a file of the workflow's functions defines, with these settings; `code` returns what it is asked to digest."""
    found = {"registry": registry, "ESTIMATED": ESTIMATED, "code": lambda *asked: asked, **settings}
    exec((FUNCTIONS / file).read_text(), found)
    return found


@pytest.mark.parametrize("chooses", [False, True])
def test_pairs_are_also_of_the_restorer_that_judged_their_strength(chooses: bool) -> None:
    asked = functions(
        "synthesis.smk",
        DEGRADATIONS={"mine": {"kind": "awgn"}},
        RESTORERS={"small": {"kind": "pyramid"}},
        CONFIG={"selection": {"restorer": "small"}},
        has_candidates=lambda name: chooses and name == "mine",
    )["sampling_code"]("sample_pairs.py")(SimpleNamespace(degradation="mine"))
    judge = [(registry.RESTORERS, "pyramid")] if chooses else []
    assert list(asked) == ["sample_pairs.py", (registry.DEGRADATIONS, "awgn"), *judge]


@pytest.mark.parametrize(
    ("dataset", "kinds"),
    [
        ({"operator": {"kind": "radon"}}, ["radon"]),
        ({"operator": {"kind": "blur"}, "assumed": {"kind": "identity"}}, ["blur", "identity"]),
        ({"operator": {"kind": ESTIMATED}}, ["kernel"]),
        ({}, []),
    ],
)
def test_reconstructions_are_also_of_the_operators(dataset: dict[str, Any], kinds: list[str]) -> None:
    asked = functions("priors.smk", DATASETS={"scans": dataset}, PRIORS={"tv": {"kind": "tv"}})["prior_code"](
        "reconstruct.py"
    )(SimpleNamespace(dataset="scans", method="tv"))
    operators = [(registry.OPERATORS, kind) for kind in kinds]
    assert list(asked) == ["reconstruct.py", (registry.PRIORS, "tv"), *operators]
