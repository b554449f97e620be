"""Which modules a job's digest holds (a change of one of them makes its results old), and what later attempts are given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nopairs import registry
from nopairs.priors.operators import ESTIMATED

FUNCTIONS = Path(__file__).resolve().parents[2] / "workflow/functions"


class Wildcards(dict[str, str]):
    """Of a job: by name, as Snakemake's have them."""

    __getattr__ = dict.__getitem__


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


def test_what_a_restorer_makes_is_of_its_kind() -> None:
    asked = functions(
        "restoration.smk",
        RESTORERS={"small": {"kind": "pyramid"}, "other": {"kind": "dncnn"}},
        chain_of=lambda wildcards: SimpleNamespace(restorer=wildcards.method.split("+")[1]),
    )["restorer_code"]("restore.py")(SimpleNamespace(method="awgn+small"))
    assert list(asked) == ["restore.py", (registry.RESTORERS, "pyramid")]


def test_what_a_transport_makes_is_of_its_autoencoder_and_its_restorer_too() -> None:
    asked = functions(
        "transport.smk",
        AUTOENCODERS={"mine": {"kind": "embedded"}, "other": {"kind": "taef2"}},
        TRANSPORTS={"moved": {"kind": "dot", "autoencoder": "mine"}},
        RESTORERS={"small": {"kind": "pyramid"}},
        chain_of=lambda wildcards: SimpleNamespace(restorer="small", transport="moved"),
    )["transport_code"]
    autoencoder = (registry.AUTOENCODERS, "embedded")
    trained = asked("train_autoencoder.py")(Wildcards(autoencoder="mine"))
    assert list(trained) == ["train_autoencoder.py", autoencoder]
    moved = asked("transport.py")(Wildcards(moved="awgn+small+moved"))
    others = [(registry.TRANSPORTS, "dot"), (registry.RESTORERS, "pyramid")]
    assert list(moved) == ["transport.py", autoencoder, *others]


def test_each_attempt_is_given_more() -> None:
    more = functions("resources.smk")["more"]
    resource = more(4, 2, lambda wildcards: wildcards.method == "large")
    for method, amounts in (("large", [4, 8, 12]), ("small", [2, 4, 6])):
        wildcards = SimpleNamespace(method=method)
        assert [resource(wildcards, attempt=attempt) for attempt in (1, 2, 3)] == amounts
    assert more(8000)(SimpleNamespace(), attempt=2) == 16000
