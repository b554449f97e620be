"""The whole workflow on a tiny configuration, as a user runs it; then what a rerun does."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image
from skimage import data

from nopairs.data.images import read_rgb, write_png
from nopairs.data.tiles import to_tensor, to_uint8
from nopairs.models import load_restorer
from nopairs.restorers.tiling import restore_tiled

ROOT = Path(__file__).resolve().parents[2]
TINY = Path(__file__).parent / "tiny.yaml"


def snakemake(
    folder: Path,
    *arguments: str,
    configs: tuple[Path, ...] = (TINY,),
    root: Path = ROOT,
    python: str | Path = sys.executable,
) -> subprocess.CompletedProcess[str]:
    command = [
        str(python),
        "-m",
        "snakemake",
        "--snakefile",
        str(root / "Snakefile"),
        "--directory",
        str(folder),
    ]
    command += ["--cores", "2", "--configfile", *map(str, configs), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def planned(
    folder: Path, *arguments: str, configs: tuple[Path, ...] = (TINY,), root: Path = ROOT
) -> dict[str, int]:
    """Rules, and how often each would run."""
    done = snakemake(folder, "--dry-run", *arguments, configs=configs, root=root)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("Job stats:")[1].splitlines()[3:] if "Job stats:" in done.stdout else []
    counts: dict[str, int] = {}
    for line in lines:
        words = line.split()
        if len(words) != 2 or not words[1].isdigit():
            break
        counts[words[0]] = int(words[1])
    return counts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    done = snakemake(folder, "--", "all")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_everything_is_made(run: Path) -> None:
    table = pd.read_csv(run / "results/tables/denoising.csv")
    assert list(dict.fromkeys(table.method)) == [
        "input",
        "nlm",
        "bm3d",
        "mcwnnm",
        "awgn+dncnn",
        "awgn_tuned+dncnn",
        "ludvae+dncnn",
        "supervised+dncnn",
        "awgn_tuned+stacked",
        "ludvae+stacked",
        "supervised+stacked",
    ]
    psnr = table[table.metric == "psnr"].set_index("method")
    assert psnr["mean"].notna().all() and (psnr.n == 3).all()
    assert psnr.loc["bm3d", "mean"] > psnr.loc["input", "mean"] + 2
    for suffix in ("md", "tex", "html"):
        assert (run / f"results/tables/denoising.{suffix}").stat().st_size
    assert (run / "results/report.html").read_text().count("<svg")
    assert not list((run / "results").rglob("*.tmp*")) and not list(
        (run / "results").rglob("training_state.pt")
    )


def test_a_rerun_runs_nothing(run: Path) -> None:
    assert planned(run) == {}


def test_a_checkout_that_was_moved_makes_nothing_old_but_tables_and_report(run: Path, tmp_path: Path) -> None:
    """These read files of the checkout."""
    (tmp_path / "moved").symlink_to(ROOT)
    redrawn = {"all", "total", "tabulate", "plot_table", "rulegraph", "report"}
    assert set(planned(run, root=tmp_path / "moved")) <= redrawn


def test_one_changed_hyper_parameter_reruns_only_what_depends_on_it(run: Path, tmp_path: Path) -> None:
    change = tmp_path / "change.yaml"
    change.write_text("degradations: {ludvae: {options: {kl_ramp: 0.5}}}\n")
    counts = planned(run, "table_denoising", configs=(TINY, change))
    assert counts == {
        "train_degradation": 1,
        "sample_pairs": 1,
        "fit_restorer": 2,  # ludvae+dncnn, and the stack that takes its weights
        "restore": 2,
        "measure": 2,
        "tabulate": 1,
        "plot_table": 1,
        "plot_comparison": 1,
        "table_denoising": 1,
        "total": 12,
    }


def test_a_trained_restorer_restores_a_folder(run: Path, tmp_path: Path) -> None:
    from nopairs.cli import main

    photos = run / "results/data/photos/test/degraded"
    model = run / "results/models/photos/ludvae+dncnn/seed0"
    assert (
        main(
            ["restore", "--model", str(model), str(photos), "-o", str(tmp_path / "restored"), "--tile", "96"]
        )
        == 0
    )
    for restored in (run / "results/restored/photos/ludvae+dncnn/seed0").glob("*.png"):
        difference = read_rgb(tmp_path / "restored" / restored.name).astype(int) - read_rgb(restored)
        assert abs(difference).max() <= 1


def test_own_photos_in_two_folders_give_a_report_without_reference_measures(tmp_path: Path) -> None:
    for k, photo in enumerate((data.astronaut(), data.chelsea(), data.coffee(), data.rocket())):
        folder = tmp_path / ("clean" if k < 2 else "noisy")
        folder.mkdir(exist_ok=True)
        Image.fromarray(photo[:280, :300]).save(folder / f"photo {k}.jpg")
    (tmp_path / "noisy/photo 4.HEIC").touch()
    own = tmp_path / "own.yaml"
    folders = f"{{clean: {tmp_path / 'clean'}, degraded: {tmp_path / 'noisy'}}}"
    own.write_text(f"dataset: mine\ndatasets: {{mine: {folders}}}\n")
    done = snakemake(tmp_path, "--", "all", configs=(TINY, own))
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "results/tables/denoising.csv")
    trained = {"awgn+dncnn", "awgn_tuned+dncnn", "ludvae+dncnn", "awgn_tuned+stacked", "ludvae+stacked"}
    assert set(table.method) == {"input", "nlm", "bm3d", "mcwnnm"} | trained
    chosen = json.loads((tmp_path / "results/pairs/mine/awgn_tuned/seed0/strength.json").read_text())
    assert len(chosen["val_psnr"]) == 2  # on held-out pairs of ludvae
    assert set(table.metric) == {"swd", "niqe"} and table["mean"].notna().all()
    told = done.stdout + done.stderr
    assert f"The report: {tmp_path / 'results/report.html'}" in told
    assert "nopairs restore --model results/models/mine/ludvae+dncnn/seed0 FOLDER" in told
    assert f"{tmp_path / 'noisy'}: left out what is no image by its name: 1 .heic" in told


def test_a_dataset_of_the_catalogue_is_fetched_once_for_all_its_splits(tmp_path: Path) -> None:
    """With PolyU where a mirror has it, else with the embedded photos, which have one split."""
    mirrored = (Path(os.environ.get("NOPAIRS_MIRROR", "/nowhere")) / "polyu").is_dir()
    settings = [f"{{source: polyu, split: {k}}}" if mirrored else "{source: embedded}" for k in (0, 1)]
    change = tmp_path / "change.yaml"
    change.write_text(f"datasets: {{first: {settings[0]}, second: {settings[1]}}}\n")
    targets = [f"results/data/{name}/index.csv" for name in ("first", "second")]
    done = snakemake(tmp_path, "--", *targets, configs=(TINY, change))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["polyu" if mirrored else "embedded"]
    first, second = (pd.read_csv(tmp_path / target) for target in targets)
    tests = [set(index.scene[index.role == "test"]) for index in (first, second)]
    assert tests[0] and (not tests[0] & tests[1] if mirrored else tests[0] == tests[1])
    assert planned(tmp_path, "--", *targets, configs=(TINY, change)) == {}


def test_students_learn_what_their_teachers_make_of_the_degraded_photos(run: Path, tmp_path: Path) -> None:
    change = tmp_path / "change.yaml"
    students = "{student: {base: dncnn, teacher: dncnn}, second: {base: dncnn, teacher: student}}"
    table = "{in_all: false, methods: [ludvae+second, ludvae+dncnn], metrics: [psnr]}"
    change.write_text(f"restorers: {students}\ntables: {{students: {table}}}\n")
    configs = (TINY, change)
    assert planned(run, "table_students", configs=configs) == {
        "teach": 2,
        "fit_restorer": 2,
        "restore": 1,
        "measure": 1,
        "tabulate": 1,
        "plot_table": 1,  # but no images: those of the dataset have other methods too
        "table_students": 1,
        "total": 9,
    }
    done = snakemake(run, "--", "table_students", configs=configs)
    assert done.returncode == 0, done.stdout + done.stderr
    for method in ("ludvae+dncnn", "ludvae+student"):
        made, degraded = (
            np.load(run / f"results/pairs/photos/{method}/seed0/{side}.npy") for side in ("clean", "degraded")
        )
        teacher = load_restorer(run / f"results/models/photos/{method}/seed0")
        difference = to_uint8(restore_tiled(teacher, to_tensor(degraded[:1]))).astype(int) - made[:1]
        assert abs(difference).max() <= 1 and (made != degraded).any()
    psnr = pd.read_csv(run / "results/tables/students.csv").set_index("method")["mean"]
    assert psnr.notna().all()
    assert planned(run, "table_students", configs=configs) == {}


def test_transports_are_rows_of_a_table(run: Path) -> None:
    figure = "results/figures/photos/perception_distortion.png"
    done = snakemake(run, "--", "table_transport", figure, configs=(TINY, TINY.with_name("transport.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(run / "results/tables/transport.csv")
    notes = table[table.metric == "psnr"].set_index("method").note
    assert notes["ludvae+resflow+dot"].startswith("moved in the latents of embedded, alpha = 0")
    models = run / "results/models/photos"
    one, four = (models / f"ludvae+{name}/seed0/model.json" for name in ("resflow_1", "resflow"))
    assert json.loads(one.read_text())["weights_of"] == "ludvae+resflow"
    assert one.with_suffix(".safetensors").read_bytes() == four.with_suffix(".safetensors").read_bytes()
    assert notes["awgn+dncnn+dot"].startswith("moved in the latents of embedded, alpha = 0")
    assert "best on val for psnr" in notes["nlm+dot@psnr"]
    assert notes["embedded"].startswith("the clean images, encoded and decoded by embedded")
    folder = run / "results/models/photos/awgn+dncnn+dot/seed0"
    alphas = pd.read_csv(folder / "alphas.csv")
    assert list(alphas.alpha) == [0, 0.5, 1]
    # At alpha = 1 the restorer's own images are measured.
    chosen = json.loads((run / "results/transport/photos/nlm+dot@psnr/seed0.json").read_text())["alpha"]
    if chosen == 1:
        psnr = table[table.metric == "psnr"].set_index("method")["mean"]
        assert psnr["nlm+dot@psnr"] == psnr["nlm"]
    curve = pd.read_csv(run / "results/transport/photos/awgn+dncnn+dot/seed0/curve.csv").set_index("point")
    assert list(curve.loc["alpha"].alpha) == [0, 0.5, 1] and curve.loc["clean", "swd"] == 0
    moved = table[table.metric == "psnr"].set_index("method")["mean"]["awgn+dncnn+dot"]
    assert curve.loc["alpha"].set_index("alpha").psnr[0] == pytest.approx(moved)
    assert (run / figure).stat().st_size
    told = json.loads((folder / "model.json").read_text())
    assert told["options"]["channels"] == 4 and told["autoencoder"] == "embedded"


def test_a_benchmark_that_keeps_its_truth_gets_files_and_its_cells_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noisy blocks in a mirror, of the catalogue's layout; methods tuned on another dataset restore them."""
    blocks = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3)).astype(np.uint8)
    mirrored = tmp_path / "mirror/sidd_benchmark/BenchmarkNoisyBlocksSrgb.mat"
    mirrored.parent.mkdir(parents=True)
    scipy.io.savemat(mirrored, {"BenchmarkNoisyBlocksSrgb": blocks})
    monkeypatch.setenv("NOPAIRS_MIRROR", str(tmp_path / "mirror"))
    change = tmp_path / "change.yaml"
    change.write_text(
        "datasets: {blocks: {source: sidd_benchmark, trained_on: photos}}\n"
        "tables: {benchmark: {dataset: blocks, methods: [input, mcwnnm], metrics: [psnr, ssim],"
        " reference: ludvae_table2_benchmark}}\n"
    )
    submitted = [
        f"results/submissions/blocks/{method}/seed0/SubmitSrgb.csv" for method in ("input", "mcwnnm")
    ]
    done = snakemake(tmp_path, "--", "table_benchmark", *submitted, configs=(TINY, change))
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "results/tables/benchmark.csv")
    assert table["mean"].isna().all() and table.note.str.contains("the benchmark keeps its truth").all()
    assert table.set_index(["method", "metric"]).published["mcwnnm", "psnr"] == 33.37
    page = (tmp_path / "results/tables/benchmark.md").read_text()
    assert "33.37" in page and "n/a" in page and "submit what lies in results/submissions" in page
    written = scipy.io.loadmat(tmp_path / submitted[0].replace(".csv", ".mat"))["DenoisedBlocksSrgb"]
    np.testing.assert_array_equal(written[1, 2], blocks[1, 2])
    chosen = json.loads((tmp_path / "results/models/photos/mcwnnm/seed0/model.json").read_text())
    assert chosen["options"]["strength"] == 2.0


def test_priors_reconstruct_what_an_operator_has_observed(tmp_path: Path) -> None:
    """With their table and report; then a change of how images are found trains nothing."""
    change = tmp_path / "change.yaml"
    change.write_text(
        "datasets: {textures: {only: gravel}}\n"
        "tables: {denoising: {in_all: false}, superresolution: {in_all: true, methods: [bicubic, patchnr], rivals: [bicubic]}}\n"
    )
    done = snakemake(tmp_path, "--", "all", configs=(TINY, change))
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "results/tables/superresolution.csv")
    psnr = table[table.metric == "psnr"].set_index("method")
    assert list(psnr.index) == ["bicubic", "patchnr"] and psnr["mean"].between(15, 40).all()
    chosen = json.loads((tmp_path / "results/strengths/textures/patchnr/seed0.json").read_text())
    assert chosen["candidates"] == [0.1, 0.5] and chosen["strength"] in (0.1, 0.5)
    page = (tmp_path / "results/report.html").read_text()
    assert "superresolution" in page and "patchnr" in page
    change.write_text(change.read_text() + "priors: {patchnr: {reconstruction: {steps: 4}}}\n")
    counts = planned(tmp_path, "--", "table_superresolution", configs=(TINY, change))
    assert counts == {
        "choose_strength": 1,
        "reconstruct": 1,
        "measure": 1,
        "tabulate": 1,
        "plot_table": 1,
        "plot_comparison": 1,
        "table_superresolution": 1,
        "total": 7,
    }


def test_unpaired_superresolution_has_pairs_of_two_sizes_and_counts_parameters(tmp_path: Path) -> None:
    """A reduced copy of the clean tiles, rows of each kind, restored images of the clean ones' size, and the bias of known maps."""
    tiny = tmp_path / "tiny.yaml"
    tiny.write_text(
        "tables: {superresolution_real: {methods: [enlarged, noise_patches+edsr, ludvae+esrgan, ots], rivals: [enlarged]}}\n"
        "bias: {options: {dimensions: [1, 3], patch_size: 2, weights: [0.5], seeds: [0], width: 8}, training: {steps: 6, batch: 16}}\n"
    )
    configs = (ROOT / "workflow/configs/sr_small.yaml", TINY.with_name("superresolution.yaml"), tiny)
    distance = "results/distances/aim19_like/ludvae/seed0/distance.json"
    done = snakemake(
        tmp_path, "--", "table_superresolution_real", "table_ots_bias", distance, configs=configs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    clean, degraded = (
        np.load(tmp_path / f"results/pairs/aim19_like/ludvae/seed0/{side}.npy", mmap_mode="r")
        for side in ("clean", "degraded")
    )
    assert clean.shape[1:] == (64, 64, 3) and degraded.shape == (len(clean), 16, 16, 3)
    distances = json.loads((tmp_path / distance).read_text())
    assert all(distances[name]["swd"] > 0 for name in ("made", "clean", "degraded_halves"))
    table = pd.read_csv(tmp_path / "results/tables/superresolution_real.csv").set_index(["method", "metric"])
    assert table.loc["enlarged", "psnr"]["mean"] > 20 and table.loc["ots", "psnr"]["n"] == 3
    parameters = table.xs("parameters", level="metric")["mean"]
    assert (
        parameters["ots"] > 0
        and parameters["ludvae+esrgan"] > 0
        and np.isnan(parameters["noise_patches+edsr"])
    )
    assert table.loc["ludvae+esrgan", "psnr"]["published"] == 22.13
    model = json.loads((tmp_path / "results/models/aim19_like/ots/seed0/model.json").read_text())
    assert model["options"]["perceptual"] == "gradients" and model["skipped"] == 0
    bias = pd.read_csv(tmp_path / "results/tables/ots_bias.csv")
    assert {"uvp %, 3", "uvp %, patches", "end, points"} <= set(bias.metric)


def test_weights_of_the_catalogue_are_fetched_before_they_are_used(tmp_path: Path) -> None:
    change = tmp_path / "change.yaml"
    change.write_text(
        "tables: {denoising: {methods: [input, dncnn_ludvae_sidd, dncnn_ludvae_dnd], rivals: []}}\n"
    )
    counts = planned(tmp_path, "--", "table_denoising", configs=(TINY, change))
    assert counts["fetch_weights"] == 2 and counts["fit_restorer"] == 3


def test_weights_of_ones_own_and_published_values_are_inputs(tmp_path: Path) -> None:
    """Written again under the same name, they make what was computed from them old."""
    own = tmp_path / "own.pth"
    own.touch()
    restorers = {"mine": {"kind": "pretrained", "options": {"weights": str(own)}}}
    table = {"methods": ["input", "mine"], "rivals": [], "reference": "ludvae_table2_validation"}
    change = tmp_path / "change.yaml"
    change.write_text(json.dumps({"restorers": restorers, "tables": {"denoising": table}}))
    done = snakemake(tmp_path, "--dry-run", "--", "table_denoising", configs=(TINY, change))
    jobs = {job.split(":")[0]: job for job in done.stdout.split("rule ")[1:]}
    assert "workflow/references/published.csv" in jobs["tabulate"]
    inputs = re.findall(r"rule fit_restorer:\n +input: (.*)", done.stdout)
    assert sum(str(own) in line for line in inputs) == 1, done.stderr


def test_weights_of_an_autoencoder_of_ones_own_are_inputs(tmp_path: Path) -> None:
    files = {part: str(tmp_path / f"{part}.pth") for part in ("encoder", "decoder")}
    for file in files.values():
        Path(file).touch()
    autoencoders = {"own": {"kind": "taef2", "options": files}}
    transports = {"dot_own": {"base": "dot", "autoencoder": "own"}}
    table = {"methods": ["input", "nlm+dot_own", "own"], "rivals": []}
    change = tmp_path / "change.yaml"
    change.write_text(
        json.dumps({"autoencoders": autoencoders, "transports": transports, "tables": {"denoising": table}})
    )
    done = snakemake(tmp_path, "--dry-run", "--", "table_denoising", configs=(TINY, change))
    for rule in ("fit_transport", "transport", "round_trip"):
        (inputs,) = re.findall(rf"rule {rule}:\n +input: (.*)", done.stdout)
        assert all(file in inputs for file in files.values()), done.stderr


def test_images_that_another_tool_restores_again_are_measured_again(tmp_path: Path) -> None:
    photo = tmp_path / "elsewhere/photo.png"
    write_png(photo, np.zeros((8, 8, 3), np.uint8))
    change = tmp_path / "change.yaml"
    restorers = {"theirs": {"kind": "folder", "options": {"test": str(photo.parent)}}}
    table = {"methods": ["input", "theirs"], "rivals": []}
    change.write_text(json.dumps({"restorers": restorers, "tables": {"denoising": table}}))
    model, restored = "results/models/photos/theirs/seed0/model.json", "results/restored/photos/theirs/seed0"
    configs = (TINY, change)
    for _ in range(2):  # of the second run nothing but the model is made, as when it is killed
        done = snakemake(tmp_path, "--", model, configs=configs)
        assert done.returncode == 0, done.stderr
        assert planned(tmp_path, "--", restored, configs=configs)["restore"] == 1
        if not (tmp_path / restored).exists():
            photos = sorted((tmp_path / "results/data/photos/test/degraded").glob("*.png"))
            for path in photos:
                write_png(photo.parent / path.name, read_rgb(path))
            done = snakemake(tmp_path, "--", restored, configs=configs)
            assert done.returncode == 0, done.stderr
            assert planned(tmp_path, "--", restored, configs=configs) == {}
            write_png(photo.parent / photos[0].name, 255 - read_rgb(photos[0]))
            assert planned(tmp_path, "--", model, configs=configs)["fit_restorer"] == 1


def test_a_table_against_the_steps_is_drawn_with_the_flow_that_they_share(tmp_path: Path) -> None:
    drawn = "results/figures/tables/resflow_steps_steps.png"
    counts = planned(tmp_path, drawn, configs=(ROOT / "workflow/configs/resflow_small.yaml",))
    assert counts["trace_flow"] == counts["plot_steps"] == 1


def test_a_checkout_and_an_interpreter_may_lie_in_folders_with_a_space_in_their_names(tmp_path: Path) -> None:
    root, environment = tmp_path / "my repo", tmp_path / "my env"
    root.symlink_to(ROOT)
    environment.symlink_to(sys.prefix)
    spaced = {"root": root, "python": environment / Path(sys.executable).relative_to(sys.prefix)}
    made = ("results/sources/photos/sources.csv", "results/rulegraph.dot")
    done = snakemake(tmp_path, "--", *made, **spaced)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((tmp_path / file).stat().st_size for file in made)
    planned = snakemake(tmp_path, "--dry-run", "--printshellcmds", **spaced).stdout
    scripts = re.findall(r"\S* (\S*/my repo/src\S*)/(\w+)\.py ", planned)
    assert {"train_degradation", "fit_restorer", "restore", "report"} <= {script for _, script in scripts}
    assert {folder for folder, _ in scripts} == {shlex.quote(f"{root}/src")}


def test_the_graph_of_rules_is_of_what_the_command_line_configured(tmp_path: Path) -> None:
    """`--config` too: the folders of the file are not there."""
    for k in range(4):
        folder = tmp_path / "ab"[k % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(data.chelsea()[:256, k : 256 + k]).save(folder / f"{k}.png")
    config = "datasets={mine: {clean: a, degraded: b}}"
    own = ROOT / "workflow/configs/own_photos.yaml"
    done = snakemake(tmp_path, "--config", config, "--", "results/rulegraph.dot", configs=(own,))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "digraph" in (tmp_path / "results/rulegraph.dot").read_text()
    assert not list((tmp_path / "results").glob("*.tmp*"))


def test_fetching_never_leaves_the_login_node() -> None:
    rules = (ROOT / "workflow/rules/data.smk").read_text().split("\nrule ")[1:]
    fetching = [rule for rule in rules if rule.startswith(("download:", "fetch_weights:"))]
    assert len(fetching) == 2 and all("localrule: True" in rule for rule in fetching)


def test_every_rule_states_its_resources() -> None:
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in file.read_text().split("\nrule ")[1:]:
            name = rule.split(":")[0]
            assert "localrule: True" in rule or ("mem_mb" in rule and "runtime" in rule), name
