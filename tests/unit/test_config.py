"""The configuration: what it resolves to, and what it refuses, before any job starts."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from snakemake.utils import update_config

from nopairs import config, digest, registry
from nopairs.config import parse_method
from nopairs.config.datasets import can_sample
from nopairs.errors import NopairsError
from nopairs.reporting.published import check_reference

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
PUBLISHED = ROOT / "workflow/references/published.csv"
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())


OPERATOR = {"kind": "blur_downsample", "factor": 2, "size": 8, "sigma": 1.0, "noise": 0.01}


RADON = {"kind": "radon", "angles": 10, "noise": 0.01}
ESTIMATED = {"kind": "estimated", "degradation": "ludvae", "size": 5}


def resolve(change: dict[str, Any] | None = None) -> dict[str, Any]:
    return config.resolve(config.merge(copy.deepcopy(DEFAULT), change or {}), SCHEMA)


def curve(source: str, methods: Sequence[str] = ("input",), **settings: Any) -> dict[str, Any]:
    """A configuration with a curve over one dataset."""
    datasets = {"x": {"source": source, **settings}}
    return {"datasets": datasets, "curves": {"c": {"datasets": ["x"], "methods": list(methods)}}}


def test_the_default_resolves() -> None:
    resolved = resolve()
    assert resolved["tables"]["denoising"]["dataset"] == "photos"
    assert resolved["degradations"]["ludvae"]["model"] == "ludvae"


# Configurations that are given after another one.
AFTER = {"polyu_full": "polyu", "sr_polyu": "sr_small"}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "workflow/configs").glob("*.yaml")), ids=lambda file: file.stem
)
def test_every_configuration_in_the_repository_resolves(file: Path) -> None:
    assert given(file.stem)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "workflow/configs").glob("*.yaml")), ids=lambda file: file.stem
)
def test_published_values_are_there_that_tables_name(file: Path) -> None:
    for table in given(file.stem)["tables"].values():
        if "reference" in table:
            check_reference(PUBLISHED, table["reference"])


def test_a_misspelt_reference_is_named() -> None:
    with pytest.raises(NopairsError, match="nothing published under 'dott_noise50'; known are "):
        check_reference(PUBLISHED, "dott_noise50")


def given(name: str) -> dict[str, Any]:
    """Return what one of the workflow's configurations resolves to."""
    config: dict[str, Any] = {}
    for stem in [AFTER[name], name] if name in AFTER else [name]:
        update_config(config, yaml.safe_load((ROOT / f"workflow/configs/{stem}.yaml").read_text()))
    return resolve(config)


@pytest.mark.parametrize("name", ["polyu", "polyu_full", "ludvae_sidd"])
def test_deflow_has_as_much_choice_of_strengths_as_ludvae(name: str) -> None:
    """The paper samples both with the same ones."""
    ludvae, deflow = (given(name)["degradations"][kind]["sampling"] for kind in ("ludvae", "deflow_np"))
    for key in ("strength", "candidates"):
        if key == "candidates" or not ludvae["candidates"]:
            assert deflow.get(key, []) == ludvae[key]


def test_full_sizes_are_the_papers_and_not_the_defaults() -> None:
    ludvae = given("aim19_ntire20")["degradations"]
    assert {ludvae[name]["training"]["crop"] for name in ("ludvae", "ludvae_h_none", "ludvae_h_9_6")} == {160}
    patchnr = given("sic_superresolution")["priors"]["patchnr"]
    assert not patchnr["options"]["whitening"] and not patchnr["reconstruction"]["precondition"]


def test_adversarial_rivals_are_trained_as_their_authors_do() -> None:
    degradations = given("aim19_ntire20")["degradations"]
    for name in ("dsgan", "dasr"):
        training = degradations[name]["training"]
        assert (training["lr"], training["betas"], training["schedule"]) == (2e-4, [0.5, 0.999], "linear")
        assert "perceptual" not in degradations[name].get("options", {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": [1]}, "unknown key 'seed' at the top level; did you mean 'seeds'"),
        ({"seeds": []}, "seeds"),
        ({"datasets": {"mine": None}}, "config: datasets.mine: is empty; indent what belongs to it"),
        ({"degradations": {"x": {"kind": "ludvea", "training": {"steps": 1}}}}, "did you mean 'ludvae'"),
        (
            {"degradations": {"ludvae": {"options": {"widht": 3}}}},
            "unknown option 'widht'; did you mean 'width'",
        ),
        (
            {"degradations": {"ludvae": {"training": {"setps": 3}}}},
            "unknown option 'setps'; did you mean 'steps'",
        ),
        ({"degradations": {"ludvae": {"training": {"lr": -1}}}}, "lr -1"),
        ({"degradations": {"ludvae": {"sampling": {"mode": "methd2"}}}}, "did you mean 'method2'"),
        ({"degradations": {"awgn": {"sampling": {"strength": [0.5, 0.1]}}}}, "must be a range"),
        (
            {"degradations": {"awgn": {"sampling": {"strength": [5, 50]}}}},
            "degradations: awgn: sampling: strength [5, 50] is above 1; it is sigma in [0, 1] units",
        ),
        (
            {"degradations": {"awgn_tuned": {"sampling": {"candidates": [[0.1, 0.2], [5, 50]]}}}},
            "awgn_tuned: sampling: strength [5, 50] is above 1",
        ),
        (
            {"tables": {"denoising": {"methods": ["ludvae+bm3d"]}}},
            "method 'ludvae+bm3d': bm3d does not learn from pairs; name it without a degradation",
        ),
        (
            {"tables": {"denoising": {"methods": ["ludvae+input"]}}},
            "method 'ludvae+input': input does not learn from pairs",
        ),
        (
            {"tables": {"denoising": {"methods": ["ludvae+nlm+dot"]}}},
            "name it without a degradation; a transport has its degradation as `statistics:`",
        ),
        ({"tables": {"denoising": {"methods": ["ludvae+dncn"]}}}, "did you mean 'dncnn'"),
        ({"tables": {"denoising": {"dataset": "photo"}}}, "did you mean 'photos'"),
        ({"tables": {"denoising": {"metrics": ["psnrr"]}}}, "psnrr"),
        ({"datasets": {"photos": {"camera": {"jpeg_qualty": 3}}}}, "did you mean 'jpeg_quality'"),
        ({"datasets": {"mine": {"clean": "a"}}}, "no `degraded:`"),
        ({"datasets": {"x": {"source": "poliu"}}}, "did you mean 'polyu'"),
        ({"datasets": {"x": {"source": "polyu", "splt": 1}}}, "did you mean 'split'"),
        ({"datasets": {"x": {"source": "polyu", "pairs_from": ["val"]}}}, "pairs_from"),
        (
            {"datasets": {"x": {"source": "sidd", "pairs_from": ["clean"]}}},
            "`pairs_from:` does not belong to source 'sidd'",
        ),
        ({"datasets": {"x": {"source": "cc15", "split": 1}}}, "`split:` does not belong to source 'cc15'"),
        (
            {"datasets": {"x": {"source": "polyu", "camera": {}}}},
            "`camera:` does not belong to source 'polyu'",
        ),
        ({"datasets": {"x": {"source": "kylberg", "only": "silk"}}}, "found in none of its 28 files"),
        ({"datasets": {"x": {"source": "imagenet"}}}, "no `folder:`"),
        ({"datasets": {"x": {"source": "wppnets", "tile": 102}}}, "tile 102 must be a multiple of 4"),
        ({"dataset": "x", "datasets": {"x": {"source": "train400"}}}, "'x' has clean images only"),
        ({"datasets": {"x": {"source": "polyu", "more_clean": ["train40"]}}}, "did you mean 'train400'"),
        (
            {"datasets": {"x": {"source": "polyu", "more_clean": ["sidd"]}}},
            "'sidd' is no collection of clean photos",
        ),
        (
            {"datasets": {"x": {"source": "train400", "more_clean": ["set14"]}}},
            "`more_clean:` does not belong to source 'train400'",
        ),
        ({"data": {"mirrors": "/x"}}, "did you mean 'mirror'"),
        (curve("polyu"), "curves: c: dataset 'x' says no `train_photos:`"),
        (
            curve("aim19", train_photos=5, methods=["supervised+dncnn"]),
            "has not what 'supervised+dncnn' needs",
        ),
        (curve("polyu", train_photos=5, methods=["ludvae+dncn"]), "did you mean 'dncnn'"),
        ({"restorers": {"dncnn": {"training": {"schedule": "cosin"}}}}, "schedule 'cosin'"),
        (
            {"restorers": {"dncnn": {"options": {"start": "none.pth"}}}},
            "start: none.pth: no such weight file",
        ),
        ({"degradations": {"x": {"base": "ludva"}}}, "did you mean 'ludvae'"),
        ({"selection": {"stand_in": "ludva"}}, "did you mean 'ludvae'"),
        ({"tables": {"denoising": {"rivals": ["bm3dd"]}}}, "did you mean 'bm3d'"),
        ({"selection": {"stand_in": "awgn_tuned"}}, "needs a `strength` of its own"),
        (
            {"priors": {"patchnr": {"options": {"widht": 3}}}},
            "priors: patchnr: patchnr: unknown option 'widht'; did you mean 'width'",
        ),
        ({"priors": {"wpp": {"reconstruction": {"stpes": 3}}}}, "did you mean 'steps'"),
        (
            {"priors": {"patchnr": {"options": {"whitening": False}}}},
            "priors: patchnr: reconstruction: `precondition: true` needs a flow with `whitening: true`",
        ),
        ({"priors": {"bicubic": {"candidates": [1]}}}, "unknown option 'strength'"),
        ({"priors": {"x": {"kind": "patchnr"}}}, "priors: x: is learned, so it needs a `training:`"),
        ({"priors": {"x": {"kind": "tvv"}}}, "did you mean 'tv'"),
        ({"priors": {"dncnn": {"kind": "tv"}}}, "priors: dncnn: is the name of one of the restorers too"),
        ({"datasets": {"textures": {"operator": {"kind": "blurr"}}}}, "did you mean 'blur'"),
        ({"datasets": {"textures": {"operator": {"taps": 3}}}}, "unknown option 'taps'"),
        ({"datasets": {"textures": {"operator": {"noise": 0}}}}, "noise 0 must be a positive number"),
        (
            {"datasets": {"photos": {"operator": {"kind": "blur"}}}},
            "degraded already; take an operator of kind estimated",
        ),
        ({"datasets": {"photos": {"operator": {"kind": "estimated"}}}}, "takes the degradation whose pairs"),
        (
            {"datasets": {"textures": {"operator": {**ESTIMATED}}}},
            "for test images that are degraded already",
        ),
        (
            {"datasets": {"photos": {"operator": {**ESTIMATED, "degradation": "x"}}}},
            "operator: degradation 'x'",
        ),
        ({"datasets": {"textures": {"assumed": {"kind": "blurr"}}}}, "did you mean 'blur'"),
        ({"processes": 0}, "processes"),
        (
            {"processes": 3, "restorers": {"dncnn": {"training": {"batch": 6}}}},
            "ludvae: training: 3 processes cannot share a batch of 16 equally; make it a multiple of 6",
        ),
        ({"datasets": {"x": {"source": "set14", "trained_on": "photo"}}}, "trained_on 'photo': "),
        (
            {
                "datasets": {
                    "x": {"source": "set14", "trained_on": "y"},
                    "y": {"source": "set14", "trained_on": "photos"},
                }
            },
            "names another dataset itself",
        ),
        ({"datasets": {"x": {"source": "set14", "scale": 4}}}, "needs a `recipe:`"),
        (
            {"datasets": {"x": {"source": "set14", "recipe": {"noise": 5}, "operator": OPERATOR}}},
            "choose one",
        ),
        ({"datasets": {"x": {"source": "set14", "assumed": OPERATOR}}}, "no `operator:` that observes"),
        (
            {
                "datasets": {"x": {"source": "textures", "operator": RADON}},
                "priors": {"w": {"kind": "wppnet", "training": {"steps": 1}}},
                "tables": {"t": {"dataset": "x", "methods": ["w"], "metrics": ["psnr"]}},
            },
            "config: datasets: x: wppnet does not take projections, which operator radon observes",
        ),
        ({"degradations": {"x": {"base": "ludvae", "model": "ludva"}}}, "did you mean 'ludvae'"),
        (
            {"datasets": {"x": {"source": "set14", "scale": 4, "recipe": {"noise": 5, "scale": 2}}}},
            "has a `scale:` and its recipe another",
        ),
        (
            {
                "datasets": {
                    "x": {
                        "source": "cc15",
                        "operator": {"kind": "estimated", "degradation": "ludva", "size": 5},
                    }
                }
            },
            "degradation 'ludva': did you mean 'ludvae",
        ),
        (
            {
                "datasets": {
                    "x": {
                        "source": "cc15",
                        "operator": {"kind": "estimated", "degradation": "ludvae", "size": 5},
                    }
                }
            },
            "ludvae has no images there to learn from",
        ),
        (
            {
                "datasets": {"x": {"source": "aim19"}},
                "tables": {"t": {"dataset": "x", "methods": ["ludvae+dncnn"], "metrics": ["psnr"]}},
            },
            "dncnn has scale 1, but clean images of dataset x are 4 times",
        ),
        (
            {"degradations": {"ludvae": {"training": {"crop": 60}}}},
            "degradations: ludvae: crop 60 is no multiple of 8, which the model needs; take 56",
        ),
        (
            {
                "restorers": {"resflow": {"training": {"crop": 66}}},
                "tables": {"t": {"methods": ["ludvae+resflow"], "metrics": ["psnr"]}},
            },
            "restorers: resflow: crop 66 is no multiple of 4, which the model needs; take 64",
        ),
        (
            {
                "autoencoders": {"embedded": {"training": {"crop": 66}}},
                "tables": {"t": {"methods": ["embedded"], "metrics": ["psnr"]}},
            },
            "autoencoders: embedded: crop 66 is no multiple of 4, which the model needs; take 64",
        ),
        (
            {"degradations": {"ludvae": {"options": {"h": "gaussian_blur", "blur_size": 129}}}},
            "degradations: ludvae: crop 64 is too small for the blur that its options ask for, which needs 65 pixels",
        ),
        (
            {"degradations": {"ludvae": {"options": {"noise_blur": 22}}}},
            "crop 64 is too small for the blur that its options ask for, which needs 67 pixels",
        ),
        ({"tables": {"t": {"methods": ["bm3d"], "metrics": ["psnr", "psnr"]}}}, "tables.t.metrics"),
        (
            {"degradations": {"noise2self": {"base": "awgn"}}},
            "restorers: noise2self: is the name of one of the degradations too",
        ),
        ({"restorers": {"bm3d": {"candidates": [0.1, 2.5]}}}, "config: restorers: bm3d: bm3d: strength 2.5"),
        (
            {"degradations": {"x": {"base": "ludvae", "model": "ludvae_m2"}}},
            "degradations: x: model 'ludvae_m2' must be of kind ludvae, and trained itself",
        ),
        (
            {"degradations": {"x": {"kind": "awgn", "model": "awgn_tuned"}}},
            "degradations: x: model 'awgn_tuned' must be of kind awgn, and trained itself",
        ),
        (
            {"degradations": {"x": {"kind": "deflow", "model": "ludvae"}}},
            "degradations: x: model 'ludvae' must be of kind deflow, and trained itself",
        ),
        (
            {"degradations": {"x": {"base": "ludvae", "model": "ludvae", "options": {"width": 32}}}},
            "degradations: x: model 'ludvae' has other options, width; take its own",
        ),
    ],
)
def test_mistakes_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NopairsError, match=re.escape(message)) as error:
        resolve(change)
    assert "\n" not in str(error.value)


TRAINING = "config: restorers: dncnn: training: "


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"lr": "1e-3"}, "lr is '1e-3', text; write a number, such as 0.5 or 1.0e-3"),
        ({"lr": float("nan")}, "lr is nan; write a number"),
        ({"lr": float("inf")}, "lr is inf; write a number"),
        ({"steps": "1e3"}, "steps is '1e3', text; write a whole number, such as 1000"),
        ({"steps": None}, "steps is empty; write a whole number"),
        ({"steps": True}, "steps is true; write a whole number"),
        ({"ema": "0.9"}, "ema is '0.9', text; write a number"),
        ({"batch": 4.5}, "batch is 4.5; write a whole number"),
        ({"betas": 0.9}, "betas is 0.9; write [a number, a number]"),
        ({"betas": [0.9]}, "betas is [0.9]; write [a number, a number]"),
        ({"betas": [0.9, 1.5]}, "betas [0.9, 1.5] must be within [0, 1)"),
        ({"betas": [0.9, "0.99"]}, "betas is [0.9, '0.99']; write [a number, a number]"),
        ({"milestones": 100}, "milestones is 100; write [a whole number, ...]"),
        ({"compile": "no"}, "compile is 'no', text; write true or false"),
        ({"schedule": 3}, "schedule is 3; write text"),
    ],
)
def test_values_of_another_type_are_refused_by_their_key(training: dict[str, Any], message: str) -> None:
    with pytest.raises(NopairsError, match=re.escape(TRAINING + message)):
        resolve({"restorers": {"dncnn": {"training": training}}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"restorers": {"dncnn": {"options": {"depth": 2.5}}}}, "restorers: dncnn: dncnn: depth is 2.5"),
        ({"restorers": {"x": {"kind": "dncnn", "training": {"lr": 0.1}}}}, "training: steps is missing"),
        ({"restorers": {"dncnn": {"options": {"batch_norm": "false"}}}}, "batch_norm is 'false', text"),
        (
            {"restorers": {"stacked": {"options": {"guides": [["bm3d", "x"]]}}}},
            "stacked: guides is [['bm3d', 'x']]; write [[text, a number], ...]",
        ),
        (
            {"degradations": {"ludvae": {"options": {"width": -2}}}},
            "ludvae: width is -2; it must be at least 1",
        ),
        (
            {"restorers": {"distilled": {"teacher": "stakked"}}},
            "restorers: distilled: teacher 'stakked': did you mean 'stacked'",
        ),
        (
            {"restorers": {"distilled": {"teacher": "bm3d"}}},
            "restorers: distilled: teacher 'bm3d': bm3d does not learn from pairs; both have to",
        ),
        (
            {"restorers": {"x": {"kind": "identity", "teacher": "dncnn"}}},
            "restorers: x: teacher 'dncnn': x does not learn from pairs",
        ),
        (
            {"restorers": {"distilled": {"teacher": "distilled"}}},
            "restorers: distilled: teacher 'distilled': learns from distilled in turn; the first of them needs a",
        ),
        (
            {
                "restorers": {
                    "x": {"base": "dncnn", "teacher": "y"},
                    "y": {"base": "dncnn", "kind": "stacked", "model": "z"},
                    "z": {"base": "dncnn", "teacher": "x"},
                }
            },
            "restorers: x: teacher 'y': learns from x in turn",
        ),
        (
            {"restorers": {"distilled": {"teacher": "resflow"}}},
            "restorers: distilled: teacher 'resflow': applies another kind of network",
        ),
        (
            {"restorers": {"x": {"base": "adapted", "teacher": "adapted_stacked"}}},
            "restorers: x: teacher 'adapted_stacked': x begins with its teacher's network and not with published "
            'weights; set `options: {start: ""}`',
        ),
        ({"degradations": {"ludvae": {"options": {"noise_clean": "x"}}}}, "noise_clean is 'x', text"),
        ({"degradations": {"ludvae": {"options": {"noise_blur": -1}}}}, "noise_blur is -1; it must not be"),
        (
            {"degradations": {"ludvae": {"sampling": {"strength": 0.8}}}},
            "degradations: ludvae: sampling: strength is 0.8; write [a number, a number]",
        ),
        ({"degradations": {"ludvae": {"sampling": {"strength": [0.8]}}}}, "sampling: strength is [0.8]"),
        ({"degradations": {"ludvae": {"sampling": {"candidates": [1, 2]}}}}, "candidates is [1, 2]"),
        (
            {"datasets": {"photos": {"camera": {"shot_noise": "a"}}}},
            "config: datasets: photos: camera: shot_noise is 'a', text; write a number",
        ),
        ({"datasets": {"textures": {"operator": {"sigma": "1e-1"}}}}, "textures: blur_downsample: sigma is"),
        (
            {"priors": {"patchnr": {"reconstruction": {"lr": "1e-1"}}}},
            "priors: patchnr: patchnr: lr is '1e-1'",
        ),
        (
            {"transports": {"dot": {"options": {"images": "ten"}}}},
            "transports: dot: dot: images is 'ten', text",
        ),
        ({"bias": {"options": {"dimensions": 3}}}, "config: bias: options: dimensions is 3"),
    ],
)
def test_types_are_checked_wherever_there_are_options(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NopairsError, match=re.escape(message)):
        resolve(change)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ({}, "take an operator of kind estimated"),
        ({"kind": "estimated"}, "takes the degradation whose pairs tell of it, and the size"),
        ({"kind": "blr"}, "take an operator of kind estimated"),
        ({"kind": "blur", "nonsense": 3}, "take an operator of kind estimated"),
        (ESTIMATED | {"size": 4}, "the kernel's size 4 must be at least 1, and odd as that is"),
        (ESTIMATED | {"size": -5}, "size -5 must be at least 1"),
        (ESTIMATED | {"size": True}, "takes the degradation whose pairs tell of it, and the size"),
        (ESTIMATED | {"degradation": ["ludvae"]}, "takes the degradation whose pairs tell of it"),
        (ESTIMATED | {"degradation": "ludva"}, "did you mean 'ludvae'"),
    ],
)
def test_operators_of_own_photos_are_checked_too(operator: dict[str, Any], message: str) -> None:
    mine = {"clean": "a", "degraded": "b"}
    assert resolve({"datasets": {"mine": mine | {"operator": ESTIMATED}}})
    with pytest.raises(NopairsError, match=f"config: datasets: mine: .*{re.escape(message)}"):
        resolve({"datasets": {"mine": mine | {"operator": operator}}})


def test_an_estimated_kernel_covers_the_pixels_that_a_small_one_stands_for() -> None:
    mine = {"clean": "a", "degraded": "b", "scale": 4}
    assert resolve({"datasets": {"mine": mine | {"operator": ESTIMATED | {"size": 8}}}})
    for size in (2, 5):
        with pytest.raises(NopairsError, match=f"size {size} must be at least 4, and even as that is"):
            resolve({"datasets": {"mine": mine | {"operator": ESTIMATED | {"size": size}}}})


@pytest.mark.parametrize("family", config.NAMED)
@pytest.mark.parametrize("name", ["my photos", "", "..", "x/y", "-x", "_x", "a+b", "a@0.5", "a$(b)", "a\n"])
def test_names_that_cannot_stand_in_paths_and_commands(family: str, name: str) -> None:
    with pytest.raises(NopairsError, match=f"config: {family}: .* is no name; take letters"):
        resolve({family: {name: {}}})


@pytest.mark.parametrize("name", ["größe", "2x", "v1.0-b", "A_b"])
def test_names_of_letters_and_digits(name: str) -> None:
    change = {
        "datasets": {name: {"clean": "a", "degraded": "b"}},
        "restorers": {f"{name}.r": {"kind": "identity"}},
        "tables": {name: {"dataset": name, "methods": [f"{name}.r"], "metrics": ["swd"]}},
    }
    assert resolve(change)["tables"][name]["methods"] == [f"{name}.r"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: {}}, "config: the top level: key 1 is no text; put it in quotes"),
        ({"datasets": {3: {"clean": "a"}}}, "config: datasets: key 3 is no text"),
        ({"tables": {2.5: {}}}, "config: tables: key 2.5 is no text"),
        ({"restorers": {"dncnn": {"options": {True: 1}}}}, "restorers.dncnn.options: key True is no text"),
        ({"tables": {"ots_bias": {}}}, "config: tables: 'ots_bias' is a name of the workflow's own"),
        ({"degradations": {"real": {}}}, "config: degradations: 'real' is a name of the workflow's own"),
        ({"datasets": ["mine"]}, "datasets"),
    ],
)
def test_keys_that_are_no_names(change: dict[Any, Any], message: str) -> None:
    with pytest.raises(NopairsError, match=re.escape(message)):
        resolve(change)


def test_base_merges_an_entry_under_another() -> None:
    resolved = resolve({"degradations": {"narrow": {"base": "ludvae", "options": {"width": 8}}}})
    narrow, ludvae = (resolved["degradations"][name] for name in ("narrow", "ludvae"))
    assert narrow["options"] == ludvae["options"] | {"width": 8}
    assert narrow["training"] == ludvae["training"] and narrow["model"] == "narrow"


def test_a_dataset_without_pairs_loses_what_needs_them() -> None:
    own = {"dataset": "mine", "datasets": {"mine": {"clean": "a", "degraded": "b"}}}
    table = resolve(own)["tables"]["denoising"]
    assert "ludvae+dncnn" in table["methods"] and "input" in table["methods"]
    assert "awgn_tuned+dncnn" in table["methods"] and "supervised+dncnn" not in table["methods"]
    assert table["metrics"] == ["swd", "niqe"]


def test_own_folders_that_no_table_is_over_are_told() -> None:
    mine = {"datasets": {"mine": {"clean": "a", "degraded": "b"}}}
    assert config.unused_folders(resolve(mine)) == ["mine"]
    assert config.unused_folders(resolve(mine | {"dataset": "mine"})) == []
    assert config.unused_folders(resolve()) == []


def test_what_is_learned_from_pairs_is_left_out_where_there_are_none() -> None:
    paired = {"base": "ludvae", "options": {"learn_from": "pairs", "h": "identity"}}
    table = {"methods": ["ludvae+dncnn", "ludvae_pairs+dncnn"]}
    change = {"degradations": {"ludvae_pairs": paired}, "tables": {"denoising": table}}
    assert resolve(change)["tables"]["denoising"]["methods"] == table["methods"]
    own = change | {"dataset": "mine", "datasets": {"mine": {"clean": "a", "degraded": "b"}}}
    assert resolve(own)["tables"]["denoising"]["methods"] == ["ludvae+dncnn"]


def test_a_dataset_of_the_catalogue_knows_its_roles_and_tile() -> None:
    resolved = resolve({"dataset": "noise", "datasets": {"noise": {"source": "polyu", "split": 2}}})
    noise = resolved["datasets"]["noise"]
    assert noise["roles"] == ["clean", "degraded", "pairs", "val", "test"]
    assert noise["tile"] == 256 and noise["split"] == 2 and noise["scale"] == 1
    assert resolved["tables"]["denoising"]["methods"] == resolve()["tables"]["denoising"]["methods"]


def test_a_table_over_several_datasets_has_what_all_of_them_have() -> None:
    datasets = {"a": {"source": "polyu"}, "b": {"source": "polyu", "split": 1}, "c": {"source": "cc15"}}
    resolved = resolve({"dataset": ["a", "b"], "datasets": datasets})["tables"]["denoising"]
    assert resolved["datasets"] == ["a", "b"] and resolved["dataset"] == "a, b"
    assert "supervised+dncnn" in resolved["methods"]
    assert resolve({"dataset": "a", "datasets": datasets})["tables"]["denoising"]["datasets"] == ["a"]
    mixed = {"datasets": datasets, "tables": {"denoising": {"dataset": ["a", "c"]}}}
    assert resolve(mixed)["tables"]["denoising"]["methods"] == ["input"]


def test_a_dataset_with_nothing_to_train_on_keeps_what_needs_no_training() -> None:
    table = resolve({"dataset": "x", "datasets": {"x": {"source": "cc15"}}})["tables"]["denoising"]
    assert table["methods"] == ["input"] and table["metrics"] == ["psnr", "ssim", "lpips", "swd"]


def test_the_datasets_crop_and_blur_fill_in_what_a_ludvae_leaves_open() -> None:
    plain = {"kind": "ludvae", "options": {"h": "gaussian_blur"}, "training": {"steps": 1}}
    own = {"base": "plain", "options": {"blur_size": 5}, "training": {"crop": 32}}
    datasets = {"a": {"source": "aim19"}, "s": {"source": "sidd"}}
    resolved = resolve({"datasets": datasets, "degradations": {"plain": plain, "own": own}})
    for dataset, size, sigma, crop in (("a", 9, 4, 160), ("s", 21, 10, 64)):
        filled = config.with_dataset_defaults(resolved, dataset, resolved["degradations"]["plain"])
        assert filled["options"] == {"h": "gaussian_blur", "blur_size": size, "blur_sigma": sigma}
        assert filled["training"] == {"steps": 1, "crop": crop}
        filled = config.with_dataset_defaults(resolved, dataset, resolved["degradations"]["own"])
        assert filled["options"] == {"h": "gaussian_blur", "blur_size": 5, "blur_sigma": sigma}
        assert filled["training"] == {"steps": 1, "crop": 32}
    for name in ("ludvae", "awgn"):  # the embedded dataset has no such defaults, white noise no such options
        entry = resolved["degradations"][name]
        assert config.with_dataset_defaults(resolved, "photos", entry) == entry


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    for wrong in ("missing", "empty"):
        with pytest.raises(NopairsError, match=wrong):
            config.folder_listing({"clean": str(tmp_path / "a.png"), "degraded": str(tmp_path / wrong)})


def test_digest_sees_code_but_not_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "SOURCE", tmp_path)
    (tmp_path / "nopairs").mkdir()
    (tmp_path / "nopairs/a.py").write_text("from nopairs import b\n")
    (tmp_path / "nopairs/b.py").write_text("X = 1\n")
    (tmp_path / "nopairs/c.py").write_text("Y = 1\n")
    first = digest.code_digest("nopairs/a.py")
    (tmp_path / "nopairs/b.py").write_text('"""Now with words."""\nX = 1  # and more\n')
    (tmp_path / "nopairs/c.py").write_text("Y = 2\n")
    assert digest.code_digest("nopairs/a.py") == first
    (tmp_path / "nopairs/b.py").write_text("X = 2\n")
    assert (second := digest.code_digest("nopairs/a.py")) != first
    (tmp_path / "nopairs/b.py").write_text("from nopairs.package import X\n")
    (tmp_path / "nopairs/package").mkdir()
    (tmp_path / "nopairs/package/__init__.py").write_text("from nopairs.c import Y as X\n")
    assert (third := digest.code_digest("nopairs/a.py")) != second
    (tmp_path / "nopairs/c.py").write_text("Y = 3\n")
    assert digest.code_digest("nopairs/a.py") != third


def test_no_script_depends_on_the_command_line_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(digest.SOURCE / "nopairs", tmp_path / "nopairs")
    scripts = list(digest.SOURCE.glob("*.py"))
    monkeypatch.setattr(digest, "SOURCE", tmp_path)
    for script in scripts:
        shutil.copy(script, tmp_path)
    before = {script.name: digest.code_digest(script.name) for script in scripts}
    (tmp_path / "nopairs/cli.py").unlink()
    assert {name: digest.code_digest(name) for name in before} == before


def test_a_restorer_that_learns_by_itself_stands_alone_and_others_do_not() -> None:
    def methods(*names: str, **change: Any) -> list[str]:
        return resolve({"tables": {"denoising": {"methods": list(names)}}, **change})["tables"]["denoising"][
            "methods"
        ]

    assert methods("input", "noise2self") == ["input", "noise2self"]
    with pytest.raises(NopairsError, match="noise2self learns from the dataset itself"):
        methods("awgn+noise2self")
    with pytest.raises(NopairsError, match=r"dncnn learns from pairs; name a degradation, as in awgn\+dncnn"):
        methods("dncnn")
    with pytest.raises(NopairsError, match="noise2self' is none that learns from pairs"):
        resolve({"selection": {"restorer": "noise2self"}})
    # It needs no clean images, but degraded ones.
    only_tests = {"dataset": "x", "datasets": {"x": {"source": "cc15"}}}
    assert methods("input", "noise2self", **only_tests) == ["input"]
    with pytest.raises(NopairsError, match="noise2self: crop 160 is larger than the tiles"):
        methods("noise2self", restorers={"noise2self": {"training": {"crop": 160}}})


def test_weights_of_the_catalogue_are_known_before_they_are_fetched() -> None:
    def named(reference: str) -> dict[str, Any]:
        return resolve({"restorers": {"theirs": {"kind": "pretrained", "options": {"weights": reference}}}})

    whole = "catalogue:dncnn_ludvae/LUD_VAE_sidd/DnCNN/model_zoo/dncnn.pth"
    assert named(whole)["restorers"]["theirs"]["options"]["weights"] == whole
    for reference, message in (
        ("catalogue:dncn_ludvae/a.pth", "restorers: theirs: .*did you mean 'dncnn_ludvae'"),
        ("catalogue:polyu/a.pth", "no weights 'polyu'"),
        ("catalogue:taef2/taef2_encoder.pt", "did you mean 'taef2_encoder.pth'"),
        ("elsewhere/dncnn.pth", "no such weight file"),
    ):
        with pytest.raises(NopairsError, match=message):
            named(reference)
    with pytest.raises(NopairsError, match="source 'taef2' is weights of networks, no photos"):
        resolve({"datasets": {"x": {"source": "taef2"}}})


def test_weight_files_of_ones_own_are_known_by_their_options(tmp_path: Path) -> None:
    for name in (
        "encoder.pth",
        "decoder.pth",
        "start.pth",
        "diffusers/config.json",
        "diffusers/model.safetensors",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    taef2 = {part: str(tmp_path / f"{part}.pth") for part in ("encoder", "decoder")}
    start = str(tmp_path / "start.pth")
    change = {
        "autoencoders": {
            "own": {"kind": "taef2", "options": taef2},
            "folder": {"kind": "kl", "options": {"folder": str(tmp_path / "diffusers")}},
            "hub": {"kind": "kl", "options": {"folder": "stabilityai/sd-vae-ft-mse"}},
        },
        "degradations": {"flow": {"kind": "deflow", "options": {"start": start}, "training": {"steps": 1}}},
        "restorers": {"stacked": {"options": {"start": start}}},
    }
    resolved = resolve(change)
    for kinds, family, name, files in (
        (registry.AUTOENCODERS, "autoencoders", "own", [*taef2.values()]),
        (registry.AUTOENCODERS, "autoencoders", "taef2", []),
        (
            registry.AUTOENCODERS,
            "autoencoders",
            "folder",
            [str(tmp_path / "diffusers" / file) for file in ("config.json", "model.safetensors")],
        ),
        (registry.AUTOENCODERS, "autoencoders", "hub", []),
        (registry.DEGRADATIONS, "degradations", "flow", [start]),  # its `encoder` is no file
        (registry.RESTORERS, "restorers", "stacked", [start]),
        (registry.RESTORERS, "restorers", "dncnn_ludvae_dnd", []),
    ):
        assert config.own_weights(kinds, resolved[family][name]) == files


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_missing_weights_of_an_autoencoder_are_named(part: str) -> None:
    with pytest.raises(NopairsError, match=f"autoencoders: taef2: {part}: absent.pth: no such weight file"):
        resolve({"autoencoders": {"taef2": {"options": {part: "absent.pth"}}}})


def transport_table(*methods: str, **change: Any) -> list[str]:
    """The methods that are left of a table on photos, or on the dataset of `change`."""
    table = {
        "dataset": "photos",
        "in_all": False,
        **change.pop("table", {}),
        "methods": list(methods),
        "metrics": ["psnr"],
    }
    return resolve({**change, "tables": {"t": table}})["tables"]["t"]["methods"]


def test_a_transport_stands_behind_a_method() -> None:
    resolved = resolve()
    parse = config.parse_method
    chain = parse(resolved, "ludvae+dncnn+dot@-0.25")
    assert (chain.degradation, chain.restorer, chain.transport) == ("ludvae", "dncnn", "dot")
    assert (chain.base, chain.fitted, chain.alpha) == ("ludvae+dncnn", "ludvae+dncnn+dot", "-0.25")
    assert parse(resolved, "nlm+dot").alpha == "0"
    assert parse(resolved, "taef2").autoencoder == "taef2"
    assert config.statistics_of(resolved, chain) == "ludvae"
    assert config.statistics_of(resolved, parse(resolved, "nlm+dot")) is None
    assert len(resolved["transports"]["dot"]["alphas"]) > 5


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("nlm@0.5", "a method is"),
        ("nlm+dot@2", "alpha '2' must be a number from -0.5 to 1.5, or psnr or perception"),
        ("nlm+dot@best", "alpha 'best'"),
        ("nlm+dto", "no 'nlm' among the degradations"),
        ("awgn+nlm+dncnn+dot", "a method is"),
        ("dncnn+dot", "name a degradation"),
    ],
)
def test_impossible_transported_methods(method: str, message: str) -> None:
    with pytest.raises(NopairsError, match=re.escape(message)):
        transport_table(method)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "dot"}, "no `autoencoder:`"),
        ({"kind": "dto", "autoencoder": "taef2"}, "did you mean 'dot'"),
        ({"base": "dot", "options": {"pacth": 1}}, "did you mean 'patch'"),
        ({"base": "dot", "options": {"patch": 0}}, "patch 0"),
        ({"base": "dot", "autoencoder": "taef"}, "did you mean 'taef2'"),
        ({"base": "dot", "statistics": "ludva"}, "did you mean 'ludvae'"),
        ({"base": "dot", "natural": "photo"}, "did you mean 'photos'"),
        ({"base": "dot", "content": "photo"}, "did you mean 'photos'"),
        ({"base": "dot", "options": {"first": -1}}, "first -1 not negative"),
        ({"base": "dot", "alphas": [3]}, "3 is greater than the maximum of 1.5"),
    ],
)
def test_impossible_transports(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(NopairsError, match=re.escape(message)):
        resolve({"transports": {"other": entry}})


def test_names_of_autoencoders_and_transports_are_their_own() -> None:
    with pytest.raises(NopairsError, match="autoencoders: nlm: is the name of one of the restorers too"):
        resolve({"autoencoders": {"nlm": {"kind": "embedded", "training": {"steps": 1}}}})
    with pytest.raises(NopairsError, match="transports: taef2: is the name of one of the autoencoders too"):
        resolve({"transports": {"taef2": {"base": "dot"}}})
    with pytest.raises(NopairsError, match="needs a `training:`"):
        resolve({"autoencoders": {"mine": {"kind": "embedded"}}})


def test_a_dataset_without_what_a_transport_learns_from_goes_without_it(tmp_path: Path) -> None:
    own = {"datasets": {"own": {"source": "folder", "clean": str(tmp_path), "degraded": str(tmp_path)}}}
    on_own = {**own, "table": {"dataset": "own"}}
    kept = transport_table(
        "nlm+dot", "nlm+dot@psnr", "ludvae+dncnn+dot@psnr", "embedded", **copy.deepcopy(on_own)
    )
    # nlm has no pairs to choose an alpha on, and there are no clean test images to go through an autoencoder.
    assert kept == ["nlm+dot", "ludvae+dncnn+dot@psnr"]
    test_only = {"datasets": {"cc": {"source": "cc15"}}, "table": {"dataset": "cc"}}
    assert transport_table("input", "input+dot", "embedded", "taef2", **test_only) == ["input", "taef2"]


def test_statistics_of_other_content_are_degraded_by_name() -> None:
    datasets = {"others": {"source": "set14", "role": "clean", "tile": 128}}
    transports = {"elsewhere": {"base": "dot", "content": "others"}}
    given: dict[str, Any] = {"datasets": datasets, "transports": transports}
    method = "awgn+dncnn+elsewhere@psnr"
    assert resolve(copy.deepcopy(given))["datasets"]["others"]["roles"] == ["clean"]
    assert transport_table(method, **copy.deepcopy(given)) == [method]
    with pytest.raises(NopairsError, match="content 'others' has no degraded images of its own"):
        transport_table("nlm+elsewhere", **copy.deepcopy(given))
    # What needs more than clean images cannot be had there.
    assert transport_table("ludvae+dncnn+elsewhere", **copy.deepcopy(given)) == []
    with pytest.raises(NopairsError, match="`role:` does not belong to source 'train400'"):
        resolve({"datasets": {"x": {"source": "train400", "role": "clean"}}})
    with pytest.raises(NopairsError, match=r"datasets\.x\.role: 'test' is not one of"):
        resolve({"datasets": {"x": {"source": "set14", "role": "test"}}})


def test_a_table_that_nothing_is_left_of_is_refused_where_it_is_in_all(tmp_path: Path) -> None:
    own = {"datasets": {"own": {"source": "folder", "clean": str(tmp_path), "degraded": str(tmp_path)}}}
    for table, missing in (
        ({"methods": ["supervised+dncnn"], "metrics": ["niqe"]}, "methods"),
        ({"methods": ["input"], "metrics": ["psnr", "ssim"]}, "metrics"),
    ):
        given = {**own, "dataset": "own", "tables": {"t": table}}
        with pytest.raises(NopairsError, match=f"tables: t: own has not what any of its {missing} needs"):
            resolve(copy.deepcopy(given))
        given["tables"] = {"t": {**table, "in_all": False}}
        assert resolve(given)["tables"]["t"][missing] == []


def test_a_student_needs_what_its_teacher_needs_and_degraded_photos(tmp_path: Path) -> None:
    resolved = resolve({})
    student = parse_method(resolved, "ludvae+distilled")
    assert student.teacher(resolved["restorers"]) == parse_method(resolved, "ludvae+stacked")
    assert parse_method(resolved, "ludvae+stacked").teachers(resolved["restorers"]) == []
    own = {"source": "folder", "clean": str(tmp_path), "degraded": str(tmp_path)}
    clean_only = {"source": "bsd68", "recipe": {"noise": 25}, "trained_on": "clean"}
    table = {"methods": ["awgn+dncnn", "awgn+distilled", "supervised+distilled"], "metrics": ["niqe"]}
    for dataset, left in (("own", table["methods"][:2]), ("clean_only", table["methods"][:1])):
        datasets = {"own": own, "clean": {"source": "train400"}, "clean_only": clean_only}
        given = {"datasets": datasets, "tables": {"t": {**table, "dataset": dataset, "in_all": False}}}
        assert resolve(given)["tables"]["t"]["methods"] == left
    with pytest.raises(NopairsError, match="restorers: distilled: the weights of model 'dncnn' are another"):
        resolve({"restorers": {"distilled": {"options": {"width": 8}}}, "tables": {"t": table}})
    # The teacher's crops, too, and those of its own teacher.
    change = {"restorers": {"large": {"base": "dncnn", "training": {"crop": 200}}}}
    change["restorers"] |= {
        "x": {"base": "dncnn", "teacher": "large"},
        "y": {"base": "dncnn", "teacher": "x"},
    }
    for method in ("awgn+x", "awgn+y"):
        with pytest.raises(NopairsError, match="restorers: large: crop 200 is larger than the tiles"):
            resolve({**change, "tables": {"t": {"methods": [method], "metrics": ["psnr"]}}})
    change["restorers"]["large"]["training"] = {"crop": 64}
    resolved = resolve(change)
    second = parse_method(resolved, "awgn+y")
    assert [one.name for one in second.teachers(resolved["restorers"])] == ["awgn+x", "awgn+large"]


def test_what_restores_a_dataset_is_used(tmp_path: Path) -> None:
    folder = {"source": "folder", "clean": str(tmp_path), "degraded": str(tmp_path)}
    given = {
        "dataset": "set14",
        "datasets": {"set14": {"source": "cc15", "trained_on": "mine"}, "mine": folder, "other": folder},
        "tables": {"t": {"methods": ["input", "ludvae+dncnn"], "metrics": ["psnr"]}},
    }
    resolved = resolve(given)
    assert {"set14", "mine"} <= config.used_datasets(resolved)
    assert config.unused_folders(resolved) == ["other"]


@pytest.mark.parametrize(
    ("method", "unused"), [("awgn+dncnn+moved", ["other"]), ("awgn+dncnn", ["mine", "aim", "other"])]
)
def test_what_feeds_a_transport_that_is_shown_is_used(method: str, unused: list[str], tmp_path: Path) -> None:
    folder = {"source": "folder", "clean": str(tmp_path), "degraded": str(tmp_path)}
    given = {
        "datasets": {name: dict(folder) for name in ("mine", "aim", "other")},
        "transports": {
            "moved": {"base": "dot", "natural": "aim", "content": "mine"},
            "move": {"base": "dot", "natural": "other"},  # its name begins the shown one's
        },
        "tables": {"t": {"methods": ["input", method], "metrics": ["psnr"]}},
    }
    assert config.unused_folders(resolve(given)) == unused


def test_where_clean_images_are_larger_degraded_ones_make_no_pairs(tmp_path: Path) -> None:
    larger = {"source": "folder", "scale": 2, "clean": str(tmp_path), "degraded": str(tmp_path)}
    method2 = {"base": "ludvae", "model": "ludvae", "sampling": {"mode": "method2"}}
    resolved = resolve({"datasets": {"larger": larger}, "degradations": {"other_way": method2}})
    possible = {
        (dataset, name): can_sample(resolved, dataset, resolved["degradations"][name])
        for dataset in ("photos", "larger")
        for name in ("ludvae", "other_way")
    }
    assert {key for key, can in possible.items() if not can} == {("larger", "other_way")}


def test_which_degradations_know_real_pairs() -> None:
    change = {
        "degradations": {
            "again": {"kind": "real_pairs"},
            "mine": {"base": "ludvae_pairs", "model": "ludvae_pairs", "sampling": {"strength": [1, 1]}},
        }
    }
    assert config.from_pairs(resolve(change)) == {"supervised", "ludvae_pairs", "again", "mine"}


def test_a_prior_needs_an_operator_and_a_restorer_none() -> None:
    methods = ["bicubic", "input", "awgn+dncnn", "patchnr"]
    table = {"methods": methods, "metrics": ["psnr"]}
    resolved = resolve(
        {
            "datasets": {"bare": {"source": "textures"}, "set12": {"source": "set12", "operator": OPERATOR}},
            "tables": {
                "photos": table,
                "textures": {**table, "dataset": "textures"},
                "set12": {**table, "dataset": "set12"},
            },
        }
    )
    assert resolved["tables"]["textures"]["methods"] == ["bicubic", "patchnr"]
    assert resolved["tables"]["photos"]["methods"] == ["input", "awgn+dncnn"]
    assert resolved["tables"]["set12"]["methods"] == ["bicubic"]  # no clean images to learn from
    assert resolved["datasets"]["textures"]["roles"] == ["clean", "val", "test"]
    with pytest.raises(NopairsError, match="'bare' has clean images only"):
        resolve({"datasets": {"bare": {"source": "set12"}}, "tables": {"x": {**table, "dataset": "bare"}}})


@pytest.mark.parametrize("prior", ["cnn", "patchnr_anchored", "pnp", "local_ar"])
def test_crops_of_priors_are_no_larger_than_tiles(prior: str) -> None:
    def resolved(tile: int, crop: int) -> dict[str, Any]:
        table = {"dataset": "textures", "methods": ["bicubic", "patchnr", prior], "metrics": ["psnr"]}
        change = {"datasets": {"textures": {"tile": tile}}, "tables": {"t": table}}
        return resolve(change | {"priors": {prior: {"training": {"crop": crop}}}})["tables"]["t"]

    assert prior in resolved(96, 96)["methods"]
    with pytest.raises(NopairsError, match=rf"priors: {prior}: crop 97 .* dataset textures \(96\); lower"):
        resolved(96, 97)
    # patchNR learns from patches, whatever `crop` is.
    assert resolved(32, 32)["methods"] == ["bicubic", "patchnr", prior]


def test_a_restorer_may_apply_the_weights_of_another() -> None:
    table = {"t": {"methods": ["awgn+resflow_8", "input"], "metrics": ["psnr"]}}
    resolved = resolve({"tables": table})
    eight = config.parse_method(resolved, "awgn+resflow_8")
    assert eight.base == "awgn+resflow_8" and eight.trained(resolved["restorers"]) == "awgn+resflow"
    assert resolved["restorers"]["resflow_8"]["options"]["steps"] == 8
    itself = config.parse_method(resolved, "awgn+resflow")
    assert itself.trained(resolved["restorers"]) == itself.base


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("resflw", "did you mean 'resflow'"),
        ("dncnn", "must be a resflow"),
        ("resflow_8", "that is trained itself"),
    ],
)
def test_weights_come_from_a_training_of_the_same_kind(model: str, told: str) -> None:
    with pytest.raises(NopairsError, match=told):
        resolve({"restorers": {"other": {"base": "resflow", "model": model}}})


@pytest.mark.parametrize(
    ("base", "options", "different"),
    [
        ("pyramid_x8", {"depth": 6, "levels": 2}, "depth, self_ensemble, levels"),
        ("stacked", {"width": 24}, "width"),
        ("adapted_x8", {"batch_norm": True}, "batch_norm, self_ensemble"),
        ("resflow_8", {"auxiliary_velocity": "learned"}, "auxiliary_velocity, steps"),
    ],
)
def test_borrowed_weights_are_of_the_same_network(base: str, options: dict[str, Any], different: str) -> None:
    methods = [f"supervised+{name}" for name in (base, "other")]
    table = {"t": {"methods": methods[:1], "metrics": ["psnr"]}}
    change = {"restorers": {"other": {"base": base, "options": options}}, "tables": table}
    assert resolve(change)["tables"]["t"]["methods"] == methods[:1]
    table["t"]["methods"] = methods
    with pytest.raises(
        NopairsError, match=f"restorers: other: .* another network's, whose {different} differ"
    ):
        resolve(change)


@pytest.mark.parametrize("model", ["other", "resflow", "stacked"])
def test_a_stack_needs_a_network_that_is_trained(model: str) -> None:
    with pytest.raises(NopairsError, match="must be a dncnn that is trained itself"):
        resolve({"restorers": {"other": {"base": "stacked", "model": model}}})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 0}, "steps is 0; a restoration takes at least 1"),
        ({"beta": -1}, "singular at t = 0"),
        ({"step": 4}, "unknown option 'step'; did you mean 'steps'"),
    ],
)
def test_impossible_flows_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(NopairsError, match=f"config: restorers: resflow: .*{told}"):
        resolve({"restorers": {"resflow": {"options": options}}})


def test_a_flow_and_its_transport_are_one_line_of_a_table() -> None:
    table = {"t": {"methods": ["ludvae+resflow+dot"], "metrics": ["psnr"]}}
    assert resolve({"tables": table})["tables"]["t"]["methods"] == ["ludvae+resflow+dot"]
