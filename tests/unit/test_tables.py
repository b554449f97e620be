from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_fixture import run_script

from nopairs.reporting.aggregate import COLUMNS, build_table, read_measured, read_published
from nopairs.reporting.reading import read_table
from nopairs.reporting.tables import latex, markdown, page

PUBLISHED = Path(__file__).parents[2] / "workflow" / "references" / "published.csv"
SCENES = ["NA", "b", "c", "d", "e", "f"]  # one is named as pandas' missing values are
METHODS = {
    "input": (26.0, [0]),
    "bm3d": (30.0, [0]),
    "awgn+dncnn": (29.0, [0, 1]),
    "ludvae+dncnn": (31.0, [0, 1]),
}
LPIPS_NOTE = "not available: no weights & <none>"


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """Measures of two images each of six scenes: a constant a method and seed, and a little noise."""
    rng = np.random.default_rng(0)
    scenes = np.repeat(SCENES, 2)
    base = np.repeat(rng.normal(0, 1, len(SCENES)), 2)
    for method, (level, seeds) in METHODS.items():
        for seed in seeds:
            folder = tmp_path / "metrics" / method / f"seed{seed}"
            folder.mkdir(parents=True)
            psnr = level + 0.2 * seed + base + rng.normal(0, 0.05, len(base))
            images = {
                "image": [f"{i:02d}" for i in range(12)],
                "scene": scenes,
                "psnr": psnr,
                "niqe": 40 - psnr,
            }
            pd.DataFrame(images).to_csv(folder / "images.csv", index=False)
            rows = [("swd", 50 - level - seed, 2.0, 12, ""), ("lpips", None, None, None, LPIPS_NOTE)]
            whole_set = pd.DataFrame(rows, columns=["metric", "value", "std", "n", "note"])
            whole_set.to_csv(folder / "set.csv", index=False)
    return tmp_path / "metrics"


def make_table(metrics: Path, *options: str, methods: list[str] | None = None) -> Path:
    out = metrics.parent / "tables"
    arguments: list[str | Path] = [
        "--table",
        "denoising",
        "--dataset",
        "photos",
        "--methods",
        *(methods or METHODS),
    ]
    arguments += ["--rivals", "bm3d", "awgn+dncnn", "--metrics-dir", metrics, "--seeds", "0", "1", "2"]
    arguments += ["--metrics", "psnr", "lpips", "swd", "niqe", "--out-dir", out]
    status = run_script("make_table", *arguments, *options)
    assert status == 0
    return out / "denoising.csv"


def cell(csv: Path, method: str, metric: str) -> pd.Series:
    table = pd.read_csv(csv)
    assert table.columns.tolist() == COLUMNS
    return table[(table.method == method) & (table.metric == metric)].iloc[0]


def test_any_two_methods_can_be_compared(metrics: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--metrics-dir", metrics, "--seeds", 0, 1, "--pairs", "ludvae+dncnn:bm3d", "bm3d:input"]
    assert run_script("compare", *arguments) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    row = cell(make_table(metrics), "ludvae+dncnn", "psnr")
    assert rows[0][:2] == ["ludvae+dncnn", "bm3d"] and rows[0][5] == "12, 6"
    assert rows[0][3] == f"{row.difference:+.2f}"
    assert rows[0][4] == f"{row.difference_low:+.2f} to {row.difference_high:+.2f}"
    assert float(rows[1][3]) == pytest.approx(4, abs=0.1)
    assert run_script("compare", *arguments, "--metric", "lpips") == 1


def test_means_are_over_images_and_seeds(metrics: Path) -> None:
    row = cell(make_table(metrics), "ludvae+dncnn", "psnr")
    files = [pd.read_csv(metrics / "ludvae+dncnn" / f"seed{seed}" / "images.csv").psnr for seed in (0, 1)]
    assert row["mean"] == pytest.approx(np.mean(files))
    assert row["std"] == pytest.approx(np.mean(files, axis=0).std(ddof=1))
    assert (row["n"], row["seeds"]) == (12, 2)
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    assert np.isnan(row["published"]) and np.isnan(row["note"])


def test_the_rival_is_the_best_one_of_each_metric(metrics: Path) -> None:
    csv = make_table(metrics)
    ours = cell(csv, "ludvae+dncnn", "psnr")
    assert ours.rival == "bm3d"
    assert ours.difference == pytest.approx(1.1, abs=0.05)
    assert ours.difference_low < ours.difference < ours.difference_high
    assert ours.difference_high - ours.difference_low < 0.5 * (ours.ci_high - ours.ci_low)
    assert cell(csv, "ludvae+dncnn", "niqe").difference == pytest.approx(-1.1, abs=0.05)
    assert np.isnan(cell(csv, "bm3d", "psnr").difference)


def test_set_wide_measures_have_no_interval(metrics: Path) -> None:
    row = cell(make_table(metrics), "ludvae+dncnn", "swd")
    assert (row["mean"], row["std"], row["n"], row["seeds"]) == (18.5, 2, 12, 2)
    assert row.difference == 18.5 - 20 and np.isnan([row.ci_low, row.difference_low]).all()


def test_set_wide_measures_that_were_resampled_have_an_interval(
    metrics: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(0, 5, 100)  # both methods' sets rise and fall with the scenes that are drawn
    for method, (level, seeds) in METHODS.items():
        for seed in seeds:
            swd = 50 - level - seed + common + rng.normal(0, 0.1, len(common))
            draws = pd.DataFrame({"draw": range(len(common)), "swd": swd})
            draws.to_csv(metrics / method / f"seed{seed}" / "draws.csv", index=False)
    row = cell(make_table(metrics, methods=["bm3d", "awgn+dncnn", "input"]), "input", "swd")
    assert row.difference == 24 - 20 and row.difference_low < 4 < row.difference_high
    assert row.difference_high - row.difference_low < 1.5
    # Two trainings differ by 1, which the interval must hold.
    ours = cell(make_table(metrics), "ludvae+dncnn", "swd")
    assert ours.difference_low < -2 and ours.difference_high > -1
    arguments = ["--metrics-dir", metrics, "--metric", "swd", "--seeds", 0, 1, "--pairs", "input:bm3d"]
    assert run_script("compare", *arguments) == 0
    assert "| 24.00, 20.00 | +4.00 |" in capsys.readouterr().out


def test_several_datasets_make_one_table(metrics: Path) -> None:
    """Their images are taken together, also where two have one name; measures of a set are averaged."""
    other = metrics.with_name("other")
    shutil.copytree(metrics, other)
    for path in other.rglob("images.csv"):
        images = pd.read_csv(path, keep_default_na=False)
        images.assign(psnr=images.psnr + 1, scene="g").head(6).to_csv(path, index=False)
    for path in other.rglob("set.csv"):
        path.write_text(path.read_text().replace("2.0,12.0", "4.0,6.0"))
    csv = make_table(metrics, "--metrics-dir", str(metrics), str(other))
    row = cell(csv, "bm3d", "psnr")
    values = pd.read_csv(metrics / "bm3d/seed0/images.csv").psnr
    assert row["mean"] == pytest.approx(np.mean([*values, *(values[:6] + 1)])) and row["n"] == 18
    assert cell(csv, "ludvae+dncnn", "psnr").difference_low < cell(csv, "ludvae+dncnn", "psnr").difference
    whole = cell(csv, "bm3d", "swd")
    assert (whole["mean"], whole["std"], whole["n"]) == (20, 3, 18)
    assert cell(csv, "bm3d", "lpips").note == LPIPS_NOTE
    # Where the sets were resampled, apart, the spread is that of the mean of both distances.
    rng = np.random.default_rng(0)
    for folder in (metrics, other):
        for path in folder.rglob("set.csv"):
            draws = pd.DataFrame({"draw": range(2000), "swd": rng.normal(20, 3, 2000)})
            draws.to_csv(path.with_name("draws.csv"), index=False)
    csv = make_table(metrics, "--metrics-dir", str(metrics), str(other))
    assert cell(csv, "bm3d", "swd")["std"] == pytest.approx(3 / np.sqrt(2), rel=0.05)


def test_a_missing_value_has_its_reason(metrics: Path) -> None:
    row = cell(make_table(metrics), "input", "lpips")
    assert np.isnan(row["mean"]) and row.note == LPIPS_NOTE


def test_few_scenes_are_marked(metrics: Path) -> None:
    for path in metrics.rglob("images.csv"):
        pd.read_csv(path, dtype=str, keep_default_na=False).head(8).to_csv(path, index=False)
    csv = make_table(metrics)
    assert cell(csv, "bm3d", "psnr").note == "descriptive: fewer than five scenes"
    assert "fewer than five scenes" in csv.with_suffix(".md").read_text()


def test_images_without_a_value_are_left_out_and_counted(metrics: Path) -> None:
    path = metrics / "bm3d" / "seed0" / "images.csv"
    images = pd.read_csv(path, dtype=str, keep_default_na=False)
    images.loc[0, "psnr"], images.loc[1, "psnr"] = "inf", ""
    images.to_csv(path, index=False)
    csv = make_table(metrics)
    assert cell(csv, "bm3d", "psnr")["n"] == 10 and cell(csv, "bm3d", "niqe")["n"] == 12
    assert "without 2 images" in cell(csv, "bm3d", "psnr").note
    assert cell(csv, "ludvae+dncnn", "psnr").difference == pytest.approx(1.1, abs=0.05)


def test_published_values_stand_beside_ours(metrics: Path) -> None:
    csv = make_table(metrics, f"--published={PUBLISHED}", "--reference=ludvae_table2_benchmark")
    row = cell(csv, "ludvae+dncnn", "psnr")
    assert (row.published, row.source) == (34.63, "LUD-VAE, Table 2 (SIDD benchmark)")
    for suffix in (".md", ".tex", ".html"):
        text = csv.with_suffix(suffix).read_text()
        assert "PSNR published" in text and "34.63" in text and "LUD-VAE, Table 2" in text
        assert "NIQE published" not in text


def test_faults_are_told(metrics: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for methods, options, message in [
        (["input", "dncnn"], (), "run measure.py first"),
        (["input", "bm3d"], (), "rivals ['awgn+dncnn'] are not among"),
        (None, (f"--published={PUBLISHED}",), "belong together"),
        (
            None,
            (f"--published={PUBLISHED}", "--reference=sidd"),
            "ludvae_table2_benchmark, ludvae_table2_validation, ludvae_table3_aim19",
        ),
    ]:
        with pytest.raises(AssertionError):
            make_table(metrics, *options, methods=methods)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "reference, method, psnr, ssim",
    [
        ("table2_benchmark", "awgn+dncnn", 32.12, 0.868),
        ("table2_benchmark", "mcwnnm", 33.37, 0.875),
        ("table2_benchmark", "supervised+dncnn", 36.54, 0.927),
        ("table2_validation", "noise2self", 30.72, 0.787),
        ("table2_validation", "deflow_np+dncnn", 33.53, 0.817),
        ("table2_validation", "deflow+dncnn", 33.82, 0.846),
        ("table3_benchmark", "ludvae_m2+dncnn", 33.96, 0.902),
        ("table3_validation", "ludvae+dncnn", 34.64, 0.868),
        ("table3_aim19", "ludvae_h_none+esrgan", 21.51, 0.5208),
        ("table3_aim19", "ludvae_h_9_4+esrgan", 22.13, 0.6165),
    ],
)
def test_published_file_agrees_with_the_paper(reference: str, method: str, psnr: float, ssim: float) -> None:
    """Cells of LUD-VAE's tables 2 and 3, typed again."""
    values = read_published(PUBLISHED, f"ludvae_{reference}").set_index("method")
    found = values.loc[method].set_index("metric").value
    assert (found["psnr"], found["ssim"]) == (psnr, ssim)


@pytest.mark.parametrize(
    ("task", "method", "metric", "value"),
    [
        ("x4", "swinir_x4", "psnr", 28.10),
        ("x4", "esrgan_x4+dot_x4@perception", "fid", 0.80),
        ("x4", "sd_vae", "psnr", 27.10),
        ("noise50", "nlm50+dot_noise50", "psnr", 24.80),
        ("noise50", "restormer+dot_noise50@psnr", "kid", 0.00261),
        ("jpeg10", "swinir_jpeg10+dot_jpeg10", "is", 163.14),
        ("noisy_x4", "ddrm", "lpips_vgg", 0.34),
        ("compressed_x4", "swin2sr+dot_compressed_x4@perception", "ssim", 0.49),
    ],
)
def test_published_file_agrees_with_deep_optimal_transport(
    task: str, method: str, metric: str, value: float
) -> None:
    """Cells of its table 1, typed again."""
    values = read_published(PUBLISHED, f"dot_{task}").set_index(["method", "metric"]).value
    assert values[method, metric] == value


def test_published_file_is_complete() -> None:
    values = pd.read_csv(PUBLISHED)
    counts = values.groupby("reference").size()
    assert counts[counts.index.str.startswith("ludvae")].to_dict() == {
        "ludvae_table1_aim19": 30,
        "ludvae_table1_ntire20": 30,
        "ludvae_table2_benchmark": 14,
        "ludvae_table2_validation": 14,
        "ludvae_table3_benchmark": 4,
        "ludvae_table3_validation": 4,
        "ludvae_table3_aim19": 12,
    }
    assert not values.duplicated(["reference", "method", "metric"]).any()


def test_markdown_has_equal_rows_and_bold_bests(metrics: Path) -> None:
    text = markdown(read_table(make_table(metrics)))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[0].startswith("| method | PSNR (dB) ↑ | LPIPS ↓ | SWD ↓ | NIQE ↓ |")
    assert {line.count("|") for line in lines[:6]} == {6}
    best = next(line for line in lines if line.startswith("| ludvae+dncnn |"))
    assert len(re.findall(r"\*\*\d", text)) == best.count("**") / 2 == 3
    assert LPIPS_NOTE in text and "data range 255" in text and "n/a<sup>a</sup>" in text


def test_latex_is_balanced_and_escaped(metrics: Path) -> None:
    (metrics / "input").rename(metrics / "awgn_tuned+dncnn")
    methods = ["awgn_tuned+dncnn", "bm3d", "awgn+dncnn"]
    text = latex(read_table(make_table(metrics, methods=methods)))
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended) == ["minipage", "table", "tabular", "tabular"]
    assert text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == 2
    assert "awgn\\_tuned+dncnn" in text and "no weights \\& <none>" in text and "\\textbf{30." in text
    for spec, body in re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.S):
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", row)) == len(spec) - 1 for row in rows)
    assert text.count("{") == text.count("}") and len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    assert not re.search(r"[^\x00-\x7f]", text)


class Tags(HTMLParser):
    """Checks that tags close in order, and collects the table's cells and all addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells = 0
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]
        self.cells += tag == "td"
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_self_contained(metrics: Path) -> None:
    text = page(read_table(make_table(metrics)))
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and tags.addresses == [] and "url(" not in text
    assert tags.cells == 4 * 4 + 9 * 4  # methods x metrics, differences x their columns
    assert "no weights &amp; &lt;none&gt;" in text and text.count("<strong>") == 3
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def test_views_come_from_the_csv_alone(metrics: Path) -> None:
    csv = make_table(metrics)
    table = read_table(csv)
    for suffix, view in ((".md", markdown), (".tex", latex), (".html", page)):
        assert csv.with_suffix(suffix).read_text() == view(table)


def test_a_table_without_what_needs_the_truth_has_the_other_columns(metrics: Path) -> None:
    csv = make_table(metrics, "--metrics", "lpips", "swd", "niqe")
    text = csv.with_suffix(".md").read_text()
    header = next(line for line in text.splitlines() if line.startswith("| method"))
    assert "LPIPS" not in header and "SWD" in header and "NIQE" in header
    assert "no weights" in text  # below it


def test_the_best_rival_need_not_be_the_first(metrics: Path) -> None:
    csv = make_table(metrics, "--rivals", "awgn+dncnn", "bm3d")
    assert cell(csv, "ludvae+dncnn", "psnr").rival == "bm3d"
    assert cell(csv, "ludvae+dncnn", "psnr").difference == pytest.approx(1.1, abs=0.05)
    assert cell(csv, "awgn+dncnn", "niqe").rival == "bm3d"


def test_equally_named_images_of_two_datasets_keep_their_scenes_and_pairs(metrics: Path) -> None:
    other = metrics.with_name("other")
    shutil.copytree(metrics, other)
    for path in other.rglob("images.csv"):
        images = pd.read_csv(path, keep_default_na=False, dtype={"image": str})
        images.assign(psnr=images.psnr + 5, scene="other " + images.scene).to_csv(path, index=False)
    found = read_measured([metrics, other], "ludvae+dncnn", [0, 1]).images[0]
    assert found.index.is_unique and len(found) == 24
    assert found.scene.nunique() == 12
    path = other / "bm3d" / "seed0" / "images.csv"
    images = pd.read_csv(path, keep_default_na=False, dtype={"image": str})
    images[::-1].to_csv(path, index=False)  # images are paired by their names, not by their places
    csv = make_table(metrics, "--metrics-dir", str(metrics), str(other))
    row = cell(csv, "ludvae+dncnn", "psnr")
    assert row["n"] == 24 and row.difference == pytest.approx(1.1, abs=0.05)
    assert row.difference_high - row.difference_low < 0.5


def test_a_difference_is_over_the_images_that_both_have(metrics: Path) -> None:
    values = {}
    for method, missing in (("bm3d", 11), ("input", 0)):
        path = metrics / method / "seed0" / "images.csv"
        images = pd.read_csv(path, keep_default_na=False, dtype={"image": str})
        values[method] = images.psnr.to_numpy()[1:11]
        images.loc[missing, "psnr"] = np.inf
        images.to_csv(path, index=False)
    row = cell(make_table(metrics), "input", "psnr")
    assert row.rival == "bm3d" and row["n"] == 11
    assert row.difference == pytest.approx(np.mean(values["input"] - values["bm3d"]))


def test_sets_of_other_images_have_a_difference_without_an_interval(metrics: Path) -> None:
    for path in metrics.rglob("set.csv"):
        draws = pd.DataFrame({"draw": range(20), "swd": np.linspace(19, 21, 20)})
        draws.to_csv(path.with_name("draws.csv"), index=False)
    assert np.isfinite(cell(make_table(metrics), "input", "swd").difference_low)
    path = metrics / "input" / "seed0" / "images.csv"
    images = pd.read_csv(path, keep_default_na=False, dtype={"image": str})
    images.assign(image="other " + images.image).to_csv(path, index=False)
    row = cell(make_table(metrics), "input", "swd")
    assert row.difference == 24 - 20 and np.isnan([row.difference_low, row.difference_high]).all()


def test_parameters_are_those_given(metrics: Path) -> None:
    measured = {method: read_measured([metrics], method, [0]) for method in ("bm3d", "ludvae+dncnn")}
    table = build_table("t", "d", measured, [], ["parameters"], parameters={"ludvae+dncnn": 1.5})
    rows = table.set_index("method")
    assert rows["mean"]["ludvae+dncnn"] == 1.5
    assert np.isnan(rows["mean"]["bm3d"]) and rows.note["bm3d"] == "nothing is learned"
