"""The report: its numbers against the table, nothing from outside, nothing private, missing parts."""

from __future__ import annotations

import base64
import getpass
import html
import io
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import report_fixture
from matplotlib.text import Text
from PIL import Image
from report_fixture import METHODS, RULEGRAPH, Tree

from nopairs.errors import NopairsError
from nopairs.metrics.names import ROUND_TRIP
from nopairs.reporting import graph, provenance, report, slider
from nopairs.reporting.figures import table_plot
from nopairs.reporting.headline import headline
from nopairs.reporting.reading import read_table
from nopairs.reporting.tables import VIEWS

CAPTIONS = Path(__file__).parents[2] / "workflow" / "report" / "captions"

Reports = Callable[[bool], Path]


def slider_data(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="pictures">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def mean(table: pd.DataFrame, method: str, metric: str) -> float:
    return float(table[(table["method"] == method) & (table["metric"] == metric)]["mean"].iloc[0])


def view(table: pd.DataFrame) -> report.TableView:
    return report.table_view("denoising", table, report.Text("Denoising", ""))


# The page


def test_page_names_nothing_outside_itself(reports: Reports) -> None:
    page = reports(True).read_text()
    addresses = re.findall(r'(?:src|href|action|data)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "default-src 'none'" in page
    assert "@import" not in page
    others = re.sub(r"data:[^\"]*", "", page).replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in others and "https://" not in others


def test_page_tells_nothing_private(reports: Reports) -> None:
    page = re.sub(r"data:[^\"]*", "", reports(True).read_text())
    assert "/home" not in page and "someone" not in page
    assert str(Path(__file__).parents[2]) not in page and str(reports(True).parent) not in page
    assert not re.search(rf"\b{re.escape(platform.node())}\b", page)
    assert getpass.getuser() == "root" or getpass.getuser() not in page
    assert "clean: …/clean" in page


def test_page_has_every_part(reports: Reports) -> None:
    page = reports(True).read_text()
    for part in ("results", "compare", "alpha", "figures", "run", "workflow", "measurement"):
        assert f'id="{part}"' in page
    assert page.count("<figure>") == 8 + 3, "three beside the alpha slider"
    for rule in ("train_degradation", "plot_table"):
        assert page.count(rule) >= 2, "in the graph and in the resources"
    assert "restorer: dncnn" in page, "the config as YAML"


def test_page_without_pairs_has_no_column_that_needs_them(reports: Reports) -> None:
    page = reports(False).read_text()
    results = page[page.index('id="results"') : page.index('id="compare"')]
    assert "NIQE" in results and "PSNR" not in results and "LPIPS" not in results
    assert "There are no paired test images" in page
    labels = [version["label"] for version in slider_data(page)["images"][0]["versions"]]
    assert "clean" not in labels and labels[0] == "input"
    assert all(
        version["psnr"] is None for image in slider_data(page)["images"] for version in image["versions"]
    )


def test_page_of_the_least_there_can_be(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    arguments = ["--config", tree.root / "config.json", "--benchmarks", tmp_path / "benchmarks"]
    arguments += ["--rulegraph", tree.root / "rulegraph.dot", "--out", tmp_path / "report.html"]
    assert report_fixture.run_script("report", *arguments) == 0
    page = (tmp_path / "report.html").read_text()
    assert 'id="results"' not in page and 'id="compare"' not in page and 'id="figures"' not in page
    assert 'id="run"' in page and "No table with a measured result" in page


def test_page_escapes_what_it_is_told(tree: Tree) -> None:
    table = read_table(tree.table)
    table["note"] = "<script>alert(1)</script>"
    template = CAPTIONS.parent / "page.html.j2"
    content = dict.fromkeys(("headline", "slider", "alphas", "figures", "usage"), None)
    page = report.render(
        template,
        **content,
        datasets=["<b>"],
        date="2000-01-01",
        tables=[view(table)],
        config="</code>",
        versions={"nopairs": "1"},
        hardware={},
        total=0,
        duration=provenance.duration,
        rulegraph="",
        measurement=report.Text("", ""),
    )
    assert "alert(1)" in page and "<script>alert" not in page
    assert "&lt;b&gt;" in page and "&lt;/code&gt;" in page


# Headline

PAIRED = {"supervised", "ludvae_pairs"}


def test_headline_is_of_what_knows_no_pairs(tree: Tree) -> None:
    table = read_table(tree.table).replace({"method": {"supervised+dncnn": "ludvae_pairs+dncnn"}})
    remarked = table[table["method"] == "awgn_tuned+dncnn"].assign(
        method="embedded", mean=99.0, note=f"the paper's selection; {ROUND_TRIP}"
    )
    told = headline(pd.concat([table, remarked]), PAIRED)
    assert told and told.method == "ludvae+dncnn"
    assert "Trained on real pairs, ludvae_pairs+dncnn" in " ".join(told.sentences)


def test_the_clean_images_own_way_is_never_the_best(tree: Tree) -> None:
    table = read_table(tree.table)
    row = table[(table["method"] == "awgn_tuned+dncnn") & (table["metric"] == "psnr")]
    table = pd.concat([table, row.assign(method="embedded", mean=99.0, note=f"selected; {ROUND_TRIP}")])
    view = report.table_view("denoising", table, report.Text("", ""))
    place = [column.name for column in view.columns].index("psnr")
    best = [row.method for row in view.rows if row.cells[place].best]
    methods = table[(table["metric"] == "psnr") & (table["method"] != "embedded")].set_index("method")["mean"]
    assert best == [methods.astype(float).idxmax()]
    bold = [t.get_text() for t in table_plot(table).findobj(Text) if t.get_fontweight() == "bold"]
    assert f"{methods.max():.2f}" in bold and "99.00" not in bold
    assert "Bold: the best mean of a method." in VIEWS[".md"](table)


def test_headline_is_the_tables_arithmetic(tree: Tree) -> None:
    table = read_table(tree.table)
    told = headline(table, PAIRED)
    assert told and told.method == "ludvae+dncnn"
    best, start, bound = (mean(table, name, "psnr") for name in (told.method, "input", "supervised+dncnn"))
    share = (best - start) / (bound - start)
    assert [number for number, _ in told.tiles] == [
        f"{best:.2f} dB",
        f"+{best - start:.2f} dB",
        f"{share:.0%}",
    ]
    text = " ".join(told.sentences)
    assert f"{best - start:.2f} dB better than the input" in text
    assert "its best rival, awgn_tuned+dncnn" in text.replace("Its", "its")
    assert f"{share:.0%} of its gain" in text
    assert "fewer than five scenes" in text


def test_headline_says_when_the_test_tells_nothing_apart(tree: Tree) -> None:
    table = read_table(tree.table)
    table["difference_low"], table["difference_high"] = -0.5, 0.5
    told = headline(table, PAIRED)
    assert told and "does not tell the two apart" in " ".join(told.sentences)


def test_headline_of_a_rival_compares_the_next_best_with_it(tree: Tree) -> None:
    table = read_table(tree.table)
    table.loc[table["method"] == "ludvae+dncnn", ["rival", "difference"]] = ["", np.nan]
    told = headline(table, PAIRED)
    assert (
        told
        and "Next is awgn_tuned+dncnn; its difference from ludvae+dncnn is \N{MINUS SIGN}"
        in " ".join(told.sentences)
    )


def test_headline_gives_no_share_of_a_bound_that_is_not_best(tree: Tree) -> None:
    table = read_table(tree.table)
    table.loc[(table["method"] == "supervised+dncnn") & (table["metric"] == "psnr"), "mean"] = 30.0
    told = headline(table, PAIRED)
    assert told and "it is not the best row" in " ".join(told.sentences)
    assert not any("%" in number for number, _ in told.tiles)


def test_headline_of_a_metric_that_should_be_low(tree: Tree) -> None:
    table = read_table(tree.table)
    told = headline(table[table["metric"] == "niqe"], PAIRED)
    assert told and told.method == "ludvae+dncnn"
    assert told.tiles[1][0].startswith("\N{MINUS SIGN}")
    assert " better than the input" in " ".join(told.sentences)


def test_headline_says_worse_when_it_is_worse(tree: Tree) -> None:
    table = read_table(tree.table)
    table.loc[table["method"] == "input", "mean"] = 60.0
    told = headline(table, PAIRED)
    assert told and " worse than the input" in " ".join(told.sentences)


def test_no_headline_without_a_method(tree: Tree) -> None:
    table = read_table(tree.table)
    assert headline(table[table["method"] == "input"], PAIRED) is None
    assert headline(table.assign(mean=np.nan), PAIRED) is None


# Tables


def test_table_view_marks_the_best_of_each_column(tree: Tree) -> None:
    shown = view(read_table(tree.table))
    assert [row.method for row in shown.rows] == ["input", *METHODS]
    for place, column in enumerate(shown.columns):
        values = {
            row.method: row.cells[place].value for row in shown.rows if row.cells[place].value is not None
        }
        best = [row.method for row in shown.rows if row.cells[place].best]
        if values:
            choose = max if column.metric.higher_is_better else min
            assert best == [choose(values, key=values.__getitem__)]
        else:
            assert best == [] and column.metric.label == "LPIPS"


def test_table_view_gives_reasons_and_sources(tree: Tree) -> None:
    shown = view(read_table(tree.table))
    assert shown.general_notes == ["All values: descriptive: fewer than five scenes"]
    psnr, lpips = shown.rows[-1].cells[0], shown.rows[-1].cells[2]
    assert lpips.text == "n/a" and "no AlexNet weights" in shown.marked_notes[lpips.marks]
    assert psnr.published == pytest.approx(36.83)
    assert "LUD-VAE, Table 2" in shown.marked_notes[psnr.published_marks]
    assert [column.metric.label for column in shown.columns if column.published] == ["PSNR"]


def test_table_view_of_a_method_without_a_metric(tree: Tree) -> None:
    table = read_table(tree.table)
    cell = view(table[~((table["method"] == "nlm") & (table["metric"] == "swd"))]).rows[1].cells[3]
    assert (cell.value, cell.text) == (None, "n/a")


def test_set_wide_measures_without_interval_or_count(tree: Tree) -> None:
    table = read_table(tree.table)
    table.loc[table["metric"] == "swd", ["ci_low", "ci_high", "std", "n"]] = np.nan
    cell = view(table).rows[0].cells[3]
    assert cell.interval == "" and "nan" not in cell.spread


# Captions, config


@pytest.mark.parametrize(
    "path", sorted([*CAPTIONS.glob("*.rst"), CAPTIONS.parent / "measurement.rst"]), ids=lambda p: p.stem
)
def test_texts_are_valid(path: Path) -> None:
    text = report.read_text(path)
    assert text.body
    assert bool(text.title) == (path.stem != "measurement")


def test_caption_of_a_detail_and_of_an_unknown_kind() -> None:
    assert report.read_caption(CAPTIONS, "comparison/photos/cat").title == "Visual comparison: photos, cat"
    assert report.read_caption(CAPTIONS, "mine") == report.Text("mine", "")


def test_faulty_caption_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.rst").write_text("Title\n=\n\n``open\n")
    with pytest.raises(NopairsError, match=r"bad\.rst: not valid"):
        report.read_text(tmp_path / "bad.rst")


# Slider


def test_slider_versions_are_the_images_and_their_psnr(tree: Tree) -> None:
    restored = {method: tree.restored(method) for method in METHODS}
    images = slider.slider_images(tree.dataset, restored)
    assert [image["name"] for image in images] == ["astronaut", "chelsea", "coffee", "rocket"]
    versions = {version["label"]: version for version in images[1]["versions"]}
    assert list(versions) == ["input", *METHODS, "clean"]
    source = np.asarray(Image.open(tree.restored("bm3d") / "chelsea.png"), dtype=float)
    clean = np.asarray(Image.open(tree.dataset / "test" / "clean" / "chelsea.png"), dtype=float)
    assert versions["bm3d"]["psnr"] == pytest.approx(
        10 * np.log10(255**2 / np.mean((source - clean) ** 2)), abs=0.006
    )
    decoded = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(versions["bm3d"]["src"].partition(",")[2]))), dtype=float
    )
    assert np.sqrt(np.mean((decoded - source) ** 2)) < 4, "levels of 255 that compression may cost"


def test_slider_cuts_the_middle_of_large_images_and_prefers_other_scenes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"scene{scene}_{crop}" for scene in range(3) for crop in range(4)]
    for name in names:
        path = tmp_path / "test" / "degraded" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 600, 3), dtype=np.uint8)).save(path)
    rows = [{"path": f"test/degraded/{name}.png", "role": "test", "scene": name[:6]} for name in names]
    pd.DataFrame(rows).to_csv(tmp_path / "index.csv", index=False)
    images = slider.slider_images(tmp_path, {})
    assert [image["name"] for image in images] == [
        f"scene{scene}_{crop}" for scene in range(3) for crop in range(2)
    ]
    assert (images[0]["width"], images[0]["height"], images[0]["cut"]) == (512, 40, True)
    decoded = Image.open(io.BytesIO(base64.b64decode(images[0]["versions"][0]["src"].partition(",")[2])))
    assert decoded.size == (512, 40)


def test_slider_refuses_another_size(tree: Tree, tmp_path: Path) -> None:
    for path in tree.restored("nlm").iterdir():
        Image.open(path).crop((0, 0, 50, 50)).save(tmp_path / path.name)
    with pytest.raises(NopairsError, match="nlm, astronaut"):
        slider.slider_images(tree.dataset, {"nlm": tmp_path})


def test_restored_images_must_belong_to_a_dataset(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--config",
        tree.root / "config.json",
        "--benchmarks",
        tree.root,
        "--rulegraph",
        tree.root / "rulegraph.dot",
    ]
    arguments += ["--restored", "nlm=/nowhere", "--out", tmp_path / "report.html"]
    assert report_fixture.run_script("report", *arguments) == 1
    assert "DATASET/METHOD" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


# Resources, versions


def test_usage_adds_up_and_survives_jobs_too_short_to_measure(tree: Tree) -> None:
    rules = {rule.rule: rule for rule in provenance.usage(tree.root / "benchmarks")}
    files = sorted((tree.root / "benchmarks" / "measure").rglob("*.tsv"))
    rows = pd.concat([pd.read_csv(path, sep="\t") for path in files])
    assert rules["measure"].jobs == 3
    assert rules["measure"].seconds == pytest.approx(rows["s"].sum())
    assert rules["measure"].longest == pytest.approx(rows["s"].max())
    assert rules["measure"].memory == pytest.approx(rows["max_rss"].max())
    assert rules["plot_table"].memory is None and rules["plot_table"].seconds == pytest.approx(0.4)
    assert [rule.seconds for rule in rules.values()] == sorted(
        (rule.seconds for rule in rules.values()), reverse=True
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "\N{EN DASH}"),
        (0.44, "0.4 s"),
        (9.99, "10.0 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7440, "2 h 04 min"),
    ],
)
def test_duration(seconds: float | None, expected: str) -> None:
    assert provenance.duration(seconds) == expected


def test_memory_is_told_in_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_PAGE_SIZE": 2**14, "SC_PHYS_PAGES": 3 * 2**18}
    monkeypatch.setattr(provenance.os, "sysconf", sizes.__getitem__)
    monkeypatch.setattr(provenance, "_gpu", lambda: "none")
    assert provenance.hardware()["Memory"] == "12 GiB"


def test_versions_hold_the_commit_of_a_checkout_only(tmp_path: Path) -> None:
    assert "commit" not in provenance.versions(tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("1")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    assert re.fullmatch("[0-9a-f]{12}", provenance.versions(tmp_path)["commit"])
    (tmp_path / "file").write_text("2")
    assert provenance.versions(tmp_path)["commit"].endswith("with uncommitted changes")


# Graph


def test_graph_reads_what_snakemake_prints(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        "rule all:\n    input: 'b'\nrule second:\n    input: 'a'\n    output: 'b'\n    shell: 'cp a b'\n"
        "rule first:\n    output: 'a'\n    shell: 'touch a'\n"
    )
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "--quiet", "all"]
    dot = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    parsed = graph.parse_rulegraph(dot)
    order = [parsed.nodes[node]["label"] for node in nx.topological_sort(parsed)]
    assert order == ["first", "second", "all"]


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Each rule's box as x, y, width, height."""
    pattern = (
        r'<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)".*?<text[^>]*>([^<]*)</text>'
    )
    return {html.unescape(label): tuple(map(float, numbers)) for *numbers, label in re.findall(pattern, svg)}


def test_graph_draws_every_rule_once_downwards_without_overlap() -> None:
    parsed = graph.parse_rulegraph(RULEGRAPH)
    svg = graph.draw_svg(parsed)
    drawn = boxes(svg)
    labels = {node: parsed.nodes[node]["label"] for node in parsed}
    assert set(drawn) == set(labels.values()) and len(drawn) == len(labels)
    for start, end in parsed.edges:
        assert drawn[labels[start]][1] < drawn[labels[end]][1]
    for (x, y, width, height), (x2, y2, width2, height2) in combinations(drawn.values(), 2):
        assert x + width < x2 or x2 + width2 < x or y + height < y2 or y2 + height2 < y
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    assert size
    assert all(
        x >= 0 and x + w <= int(size[1]) and y >= 0 and y + h <= int(size[2]) for x, y, w, h in drawn.values()
    )


def test_graph_leaves_out_only_implied_arrows() -> None:
    parsed = graph.parse_rulegraph(RULEGRAPH)
    reduced = nx.transitive_reduction(parsed)
    assert graph.draw_svg(parsed).count("marker-end") == reduced.number_of_edges() < parsed.number_of_edges()


def test_graph_escapes_labels() -> None:
    assert "&lt;x&gt;" in graph.draw_svg(graph.parse_rulegraph('0[label = "<x>"];'))


def test_graph_refuses_what_holds_no_rule() -> None:
    with pytest.raises(NopairsError, match="no rule"):
        graph.parse_rulegraph("digraph {}")


def test_graph_leaves_out_the_edge_that_closes_a_circle() -> None:
    parsed = graph.parse_rulegraph('0[label="a"];\n1[label="b"];\n2[label="c"];\n0 -> 1\n1 -> 0\n1 -> 2')
    assert len(parsed.edges) == 2 and ("1", "2") in parsed.edges
    assert "<svg" in graph.draw_svg(parsed)
