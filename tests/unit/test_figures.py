"""The figures: what they show, that nothing is cut off, and that equal input gives equal bytes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import report_fixture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from report_fixture import METHODS, SOURCES, Tree, run_script

from nopairs.data.images import read_rgb
from nopairs.data.showing import Box, zoom_box
from nopairs.errors import NopairsError
from nopairs.reporting import comparison, figures, noise, style
from nopairs.reporting.reading import hide_folders, read_log, read_table


def texts(figure: Figure) -> list[str]:
    """All visible texts of a drawn figure."""
    with style.styled():
        FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts, without tick labels, whose boxes overlap by more than a pixel."""
    with style.styled():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    ticks = {label for axes in figure.axes for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]}
    shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text() and t not in ticks]
    boxes = [(t.get_text(), t.get_window_extent(canvas.get_renderer()).padded(-1)) for t in shown]
    return [(a, b) for i, (a, x) in enumerate(boxes) for b, y in boxes[i + 1 :] if x.overlaps(y)]


def all_figures(tree: Tree) -> dict[str, Figure]:
    sources = {source: noise.read_noise(tree.noise(source)) for source in SOURCES}
    test = tree.dataset / "test"
    images = {method: read_rgb(tree.restored(method) / "chelsea.png") for method in METHODS}
    truth = read_rgb(test / "clean" / "chelsea.png")
    models = tree.root / "models" / report_fixture.DATASET
    logs = {p.parent.relative_to(models).as_posix(): read_log(p) for p in sorted(models.rglob("log.csv"))}
    return {
        "losses": figures.losses(logs),
        "patches": noise.noise_patches(sources),
        "statistics": noise.noise_statistics(sources),
        "comparison": comparison.comparison(
            "A title", read_rgb(test / "degraded" / "chelsea.png"), images, truth
        ),
        "table": figures.table_plot(read_table(tree.table)),
    }


@pytest.fixture(scope="module")
def drawn(tree: Tree) -> dict[str, Figure]:
    return all_figures(tree)


@pytest.mark.parametrize("name", ["losses", "patches", "statistics", "comparison", "table"])
def test_no_text_hides_another(drawn: dict[str, Figure], name: str) -> None:
    assert overlapping(drawn[name]) == []


def test_scripts_write_png_and_pdf_and_repeat_their_bytes(tree: Tree, tmp_path: Path) -> None:
    copy = Tree(tmp_path / "copy")
    shutil.copytree(tree.root, copy.root, ignore=shutil.ignore_patterns("figures"))
    report_fixture.draw_figures(copy)
    first, second = (sorted((root / "figures").rglob("*.*")) for root in (tree.root, copy.root))
    assert [path.relative_to(tree.root) for path in first] == [path.relative_to(copy.root) for path in second]
    assert [path.suffix for path in first].count(".pdf") == [path.suffix for path in first].count(".png") == 8
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_pixels_reach_the_border_of_no_figure(tree: Tree) -> None:
    """What is cut off at the border leaves ink on the outermost pixels."""
    for path in (tree.root / "figures").rglob("*.png"):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (border == 255).all(), path.name


def test_losses_have_a_panel_a_model_and_one_for_validation(drawn: dict[str, Figure]) -> None:
    shown = texts(drawn["losses"])
    assert {"ludvae", "awgn+dncnn", "ludvae+dncnn", "Validation", "seed0", "seed1"} <= set(shown)
    assert "validation PSNR (dB)" in shown
    assert sum(text == "loss (log scale)" for text in shown) == 5


def test_losses_of_models_without_validation_and_with_a_negative_loss() -> None:
    log = pd.DataFrame({"step": [1, 2, 3], "loss": [1.0, 0.0, -1.0]})
    shown = texts(figures.losses({"prior/seed0": log}))
    assert "loss" in shown and "loss (log scale)" not in shown
    assert not any("validation" in text for text in shown)


def test_noise_distances_are_zero_from_itself_and_grow_with_the_noise(tree: Tree) -> None:
    real, ludvae, awgn = (noise.read_noise(tree.noise(source)) for source in ("real", "ludvae", "awgn"))
    assert set(noise.noise_distances(real, real).values()) == {0.0}
    near, far = noise.noise_distances(ludvae, real), noise.noise_distances(awgn, real)
    assert all(near[kind] < far[kind] for kind in ("spectrum", "strength", "spatial"))


def test_noise_distance_of_doubled_noise_is_six_decibels(tree: Tree) -> None:
    real = noise.read_noise(tree.noise("real"))
    power = real.statistics["power_spectrum"]
    louder = {**power, "power": (4 * np.array(power["power"])).tolist()}
    double = noise.Noise(real.clean, real.degraded, {**real.statistics, "power_spectrum": louder})
    assert noise.noise_distances(double, real)["spectrum"] == pytest.approx(20 * np.log10(2))


def test_noise_without_a_real_source_names_no_distance(tree: Tree) -> None:
    sources = {source: noise.read_noise(tree.noise(source)) for source in ("ludvae", "awgn")}
    assert not any("distance" in text for text in texts(noise.noise_statistics(sources)))


def test_unequal_noise_strips_are_refused(tree: Tree, tmp_path: Path) -> None:
    shutil.copytree(tree.noise("real"), tmp_path / "noise")
    Image.new("RGB", (100, 64)).save(tmp_path / "noise" / "clean.png")
    with pytest.raises(NopairsError, match="not equal strips"):
        noise.read_noise(tmp_path / "noise")


def test_zoom_box_finds_the_detail_and_not_the_dark_or_the_flat() -> None:
    image = np.full((128, 160, 3), 128, np.uint8)
    board = np.indices((32, 32)).sum(axis=0) // 4 % 2
    image[64:96, 96:128] = np.where(board, 200, 60)[..., None]
    image[0:32, 0:32] = np.where(board, 40, 0)[..., None]
    box = zoom_box(image)
    assert box.size == 32
    assert abs(box.x - 96) <= 4 and abs(box.y - 64) <= 4


def test_zoom_box_of_a_dark_or_a_tiny_image_stays_inside() -> None:
    dark = np.zeros((40, 50, 3), np.uint8)
    dark[20:, 30:] = 20
    assert zoom_box(dark).cut(dark).shape == (32, 32, 3)
    tiny = dark[:10, :20]
    assert zoom_box(tiny) == zoom_box(tiny, 128) == Box(0, 0, 10)


def test_comparison_gives_each_crops_psnr(tree: Tree, drawn: dict[str, Figure]) -> None:
    clean = read_rgb(tree.dataset / "test" / "clean" / "chelsea.png")
    box = zoom_box(clean)
    restored = read_rgb(tree.restored("bm3d") / "chelsea.png")
    error = np.mean((box.cut(clean).astype(float) - box.cut(restored)) ** 2)
    assert f"bm3d\n{10 * np.log10(255**2 / error):.2f} dB" in texts(drawn["comparison"])
    assert "clean" in texts(drawn["comparison"])


def test_comparison_without_truth_has_neither_psnr_nor_clean(tree: Tree) -> None:
    degraded = read_rgb(tree.dataset / "test" / "degraded" / "chelsea.png")
    shown = texts(comparison.comparison("A title", degraded, {"nlm": degraded}, None))
    assert "nlm" in shown and "clean" not in shown
    assert not any("dB" in text for text in shown)


def test_comparison_refuses_other_sizes_and_boxes_outside(tree: Tree) -> None:
    degraded = read_rgb(tree.dataset / "test" / "degraded" / "chelsea.png")
    with pytest.raises(NopairsError, match=r"nlm: 192 x 191 pixels"):
        comparison.comparison("A title", degraded, {"nlm": degraded[:-1]}, None)
    with pytest.raises(NopairsError, match="zoom box"):
        comparison.comparison("A title", degraded, {"nlm": degraded}, None, Box(170, 0, 32))


def test_table_plot_shows_means_published_values_and_why_a_metric_is_missing(
    drawn: dict[str, Figure],
) -> None:
    shown = texts(drawn["table"])
    assert {"PSNR ↑", "SSIM ↑", "SWD ↓", "NIQE ↓", *METHODS} <= set(shown)
    notes = next(text for text in shown if "LPIPS: lpips: no AlexNet weights" in text)
    assert "Hollow diamond: published, LUD-VAE, Table 2" in notes
    assert "/home" not in notes


def test_table_plot_marks_a_missing_cell_and_the_best_one(tree: Tree) -> None:
    table = read_table(tree.table)
    table.loc[(table["method"] == "bm3d") & (table["metric"] == "psnr"), ["mean", "ci_low", "ci_high"]] = (
        np.nan
    )
    figure = figures.table_plot(table)
    assert "n/a" in texts(figure)
    best = table[(table["metric"] == "psnr")]["mean"].max()
    bold = [t.get_text() for t in figure.findobj(Text) if t.get_fontweight() == "bold"]
    assert f"{best:.2f}" in bold


def test_table_plot_says_a_note_once(tree: Tree) -> None:
    table = read_table(tree.table)
    table["note"] = np.where(table["metric"] == "psnr", "within a border; few scenes", "within a border")
    notes = next(text for text in texts(figures.table_plot(table)) if "Note: " in text)
    assert "Note: within a border; few scenes." in notes


def test_the_curve_script_draws_a_dot_a_run_and_writes_the_means(tmp_path: Path) -> None:
    runs = {}
    for run, (photos, values) in {
        "a": (5, [30.0, 31.0]),
        "b": (5, [31.0, 32.0]),
        "c": (20, [32.0, 35.0]),
    }.items():
        for method, extra in (("input", 0.0), ("ludvae+dncnn", 1.0)):
            psnr = [28.0, 29.0] if method == "input" else [value + extra for value in values]
            images = tmp_path / f"{run}/{method}/images.csv"
            images.parent.mkdir(parents=True)
            pd.DataFrame({"image": ["x", "y"], "scene": ["x", "y"], "psnr": psnr}).to_csv(images, index=False)
            runs[images] = f"{photos}/{method}={images}"
    out = tmp_path / "curve"
    arguments = [
        "--run",
        *runs.values(),
        "--metric",
        "psnr",
        "--csv",
        out / "runs.csv",
        "--out",
        out / "curve.png",
    ]
    assert run_script("plot_curve", *arguments) == 0
    written = pd.read_csv(out / "runs.csv")
    learned = written[written.method == "ludvae+dncnn"]
    assert learned.photos.tolist() == [5, 5, 20] and learned.psnr.tolist() == [31.5, 32.5, 34.5]
    figure = figures.curve(written, "psnr")
    assert {"input", "ludvae+dncnn", "PSNR (dB)"} <= set(texts(figure)) and overlapping(figure) == []
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].get_lines()}
    assert lines["ludvae+dncnn"] == [32.0, 34.5] and lines["input"] == [28.5, 28.5]
    arguments[arguments.index("psnr")] = "niqe"
    assert run_script("plot_curve", *arguments) == 1


def test_empty_table_is_refused(tree: Tree) -> None:
    table = read_table(tree.table)
    with pytest.raises(NopairsError, match="no value"):
        figures.table_plot(table.assign(mean=np.nan, published=np.nan))


@pytest.mark.parametrize("content", ["", "a,b\n", "a,b\n1,2\n"])
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text(content)
    for read in (read_table, read_log):
        with pytest.raises(NopairsError, match=r"file\.csv") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_scripts_report_errors_with_status_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        report_fixture.run_script("plot_table", "--table", tmp_path / "no.csv", "--out", tmp_path / "x.png")
        == 1
    )
    assert "no.csv" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_figures_are_png_only(tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_fixture.run_script("plot_table", "--table", tree.table, "--out", tmp_path / "x.svg") == 1
    assert "end the name in .png" in capsys.readouterr().err


def test_colors_are_fixed_and_shared_by_a_degradation_and_its_restorer() -> None:
    assert style.color("ludvae") == style.color("ludvae+dncnn") == style.color("ludvae+resflow+dot@0.5")
    known = [style.color(name) for name in ("input", *METHODS, "real")]
    assert len(set(known)) == len(known)
    assert style.color("my_method") == style.color("my_method")
    assert style.color("my_method") not in known


def test_metric_order_direction_and_precision() -> None:
    assert style.order_metrics(["niqe", "mine", "psnr", "niqe"]) == ["psnr", "niqe", "mine"]
    assert style.metric("psnr").best([1.0, float("nan"), 3.0]) == 3.0
    assert style.metric("lpips").best([1.0, 3.0]) == 1.0
    assert style.metric("mine").best([1.0, 3.0]) is None
    assert style.metric("swd").precision([0.0252, 0.0086]) == 4
    assert style.metric("fid").precision([23.4]) == 1


def test_comparison_script_draws_the_named_image_and_box(tree: Tree, tmp_path: Path) -> None:
    arguments = [
        "--dataset-dir",
        tree.dataset,
        "--restored",
        f"nlm={tree.restored('nlm')}",
        "--image",
        "rocket.png",
    ]
    assert (
        report_fixture.run_script(
            "plot_comparison", *arguments, "--zoom", "0", "0", "8", "--out", tmp_path / "a"
        )
        == 0
    )
    assert report_fixture.run_script("plot_comparison", *arguments, "--out", tmp_path / "b") == 0
    one, other = ((tmp_path / folder / "rocket.png").read_bytes() for folder in "ab")
    assert one != other
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["rocket.pdf", "rocket.png"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "no weights at /home/someone/.cache/alex.pth; put them there",
            "no weights at …/alex.pth; put them there",
        ),
        ("~/photos/noisy", "…/noisy"),
        ("C:\\Users\\someone\\photos", "…/photos"),
        ("results/tables/x.csv", "results/tables/x.csv"),
        ("https://example.org/a/b.zip", "https://example.org/a/b.zip"),
        ("10 dB/octave or 1/2", "10 dB/octave or 1/2"),
    ],
)
def test_hide_folders(text: str, expected: str) -> None:
    assert hide_folders(text) == expected


MANY = [
    f"{noise}+{net}" for noise in ("awgn_tuned", "supervised", "ludvae_pairs") for net in ("dncnn", "adapted")
]
MANY += [
    "dncnn_ludvae_sidd",
    "dncnn_ludvae_dnd",
    "noise2self",
    "bm3d",
    "deflow_np+dncnn",
    "ludvae_m2+dncnn",
    "mcwnnm",
]


@pytest.mark.parametrize(
    "names", [("enlarged", "noise_patches+esrgan", "bicubic_down+esrgan", "ludvae+esrgan"), MANY]
)
def test_long_names_of_methods_stay_below_the_title_and_apart(names: Sequence[str]) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    drawn = comparison.comparison("a dataset", image, {name: image + np.uint8(9) for name in names}, image)
    FigureCanvasAgg(drawn).draw()
    assert drawn._suptitle is not None
    title = drawn._suptitle.get_window_extent()
    boxes = [axes.title.get_window_extent() for axes in drawn.axes]
    assert not any(title.overlaps(box) for box in boxes)
    others = [axes.get_window_extent() for axes in drawn.axes]
    assert not any(label.overlaps(panel) for label in boxes for panel in others)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
