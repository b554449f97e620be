"""What a cluster would be asked for, seen in dry runs: no Slurm is needed."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from large_study import plan, slurm_jobs, study  # noqa: E402


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("study")
    return plan(folder, study(folder / "photos", datasets=2, seeds=2))


def test_no_short_step_is_a_slurm_job_by_itself(printed: str) -> None:
    local = set()
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        rules = file.read_text().split("\nrule ")[1:]
        local |= {rule.split(":")[0] for rule in rules if "localrule: True" in rule}
    alone = set(re.findall(r"^rule (\w+):", printed, re.MULTILINE))
    assert alone <= local | {"all"}
    for name, rules in slurm_jobs(printed):
        if name == "restorer":
            assert sorted(rules) == ["fit_restorer", "measure", "restore"]
        elif name == "classical":
            assert Counter(rules) == {"fit_restorer": 6, "measure": 6, "restore": 6}
        elif name == "simple_pairs":
            assert Counter(rules)["sample_pairs"] == 4
        elif name == "data":
            assert "preprocess" in rules
        else:
            assert name.startswith("pairs_") and "sample_pairs" in rules


def test_a_method_is_one_job(printed: str) -> None:
    names = Counter(name for name, _ in slurm_jobs(printed))
    assert names["restorer"] == 2 * 2 * 27  # datasets, seeds, methods that are trained
    assert names["classical"] == 2 * 2 * 3 / 6
    assert names["pairs_ludvae0"] == 2 * 2


def test_what_draws_the_report_is_among_its_inputs(printed: str) -> None:
    """Its page and the workflow itself, which its graph shows: a change of them makes it old."""
    inputs = dict(re.findall(r"^rule (\w+):\n    input: (.+)", printed, re.MULTILINE))
    for rule, files in (("report", ("page.html.j2", "page.css", "page.js")), ("rulegraph", ("common.smk",))):
        assert set(files) <= {Path(name).name for name in inputs[rule].split(", ")}, rule


def test_a_training_asks_for_a_gpu_a_process(tmp_path: Path) -> None:
    config = study(tmp_path / "photos", datasets=1, seeds=1)
    printed = plan(tmp_path, {**config, "processes": 4})
    asked: dict[str, set[str]] = {}
    for job in printed.split("rule ")[1:]:
        asked.setdefault(job.split(":")[0], set()).update(re.findall(r"\bgpu=(\d)", job))
    assert asked["train_degradation"] == {"4"}
    assert asked["fit_restorer"] == {"0", "4"} and asked["restore"] == {
        "0",
        "1",
    }  # the first of each: classical


def test_no_group_with_a_gpu_has_steps_side_by_side(tmp_path: Path) -> None:
    """Snakemake would add up what they ask for: three GPUs on one node for three ways to apply one training."""
    config = study(tmp_path / "photos", datasets=1, seeds=1)
    lent = [
        "awgn+resflow_1",
        "awgn+resflow_8",
        "awgn+resflow",
        "awgn+stacked",
        "awgn+dncnn",
        "awgn+distilled",
    ]
    moved = [f"awgn+{name}+dot{alpha}" for name in ("dncnn", "resflow") for alpha in ("", "@0.5", "@psnr")]
    methods = {"methods": [*lent, *moved, "embedded"], "metrics": ["psnr"]}
    config["datasets"]["other"] = {"source": "set14", "recipe": {"noise": 25}, "trained_on": "camera0"}
    config["tables"] = {"denoising": methods, "others": {"dataset": "other", **methods}}
    groups = slurm_jobs(plan(tmp_path, config))
    names = Counter(name for name, _ in groups)
    assert names["restorer"] == 2 and names["borrowed"] == 3 and names["autoencoder"] == 1
    assert names["student1"] == 1  # apart from its teacher's network, which it begins with
    assert names["moved"] == 12 and names["transport"] == 2
    for name, rules in groups:
        assert name in ("data", "classical", "simple_pairs") or set(Counter(rules).values()) == {1}, (
            name,
            rules,
        )


def test_what_is_trained_elsewhere_is_shown_as_it_was_trained_there(tmp_path: Path) -> None:
    """And the weights of the catalogue that a degradation begins with are fetched, though no restorer names them."""
    config = study(tmp_path / "photos", datasets=1, seeds=1)
    weights = "catalogue:published_restorers/esrgan_x4.pth"
    config["degradations"]["flow"] = {
        "kind": "deflow",
        "options": {"encoder": "rrdb", "start": weights},
        "training": {"steps": 10, "batch": 4, "crop": 64},
    }
    config["datasets"]["other"] = {"source": "cc15", "trained_on": "camera0"}
    methods = {"methods": ["input", "flow+dncnn0", "ludvae0+dncnn0"], "metrics": ["psnr"]}
    config["tables"] = {"denoising": {"in_all": False, **methods}, "others": {"dataset": "other", **methods}}
    printed = plan(tmp_path, config)
    inputs = {
        job.split(":")[0] + re.search(r"output: (\S+?),", job)[1]: re.search(r"input: (.+)", job)[1]  # type: ignore[index]
        for job in printed.split("rule ")[1:]
        if job.startswith(("measure_noise", "train_degradation"))
    }
    noise = inputs["measure_noiseresults/noise/other/ludvae0/seed0/noise.json"]
    assert "results/models/camera0/ludvae0/seed0/model.json" in noise
    assert "results/pairs/camera0/ludvae0/seed0/strength.json" in noise
    flow = inputs["train_degradationresults/models/camera0/flow/seed0/model.safetensors"]
    assert "results/weights/published_restorers/esrgan_x4.pth.json" in flow
    assert "results/pairs/other" not in printed and "results/models/other" not in printed
