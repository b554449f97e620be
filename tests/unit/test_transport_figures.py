"""The figure of a transport over alpha, and what the report's slider is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import report_fixture
from report_fixture import MOVED, Tree

from measure_curve import write_crops
from nopairs.data.images import read_rgb
from nopairs.errors import NopairsError
from nopairs.files import read_json, write_csv
from nopairs.reporting import transport


def test_the_figure_shows_curve_restorer_and_clean_images(tree: Tree) -> None:
    folder = tree.transport(MOVED)
    curve = transport.read_curve(folder / "curve.csv")
    crops = transport.read_crops(folder / "crops")
    assert [one.name for one in crops] == ["astronaut", "coffee"]
    figure = transport.perception_distortion({MOVED: curve}, {MOVED: crops[0]})
    panels, strip = (part.axes for part in figure.subfigs)
    assert [axes.get_title(loc="left") for axes in panels] == ["SWD ↓", "NIQE ↓"]
    curves = [line for line in panels[0].lines if len(line.get_xdata()) == 5]
    np.testing.assert_allclose(curves[0].get_ydata(), [3, 5, 7, 9, 11])
    stars = [line for line in panels[0].lines if line.get_marker() == "*"]
    assert list(stars[0].get_ydata()) == [9]
    assert [line.get_ydata()[0] for line in panels[1].lines if line.get_linewidth() == 1] == [3.5]
    assert [axes.get_title(loc="left") for axes in strip] == [
        "-0.5",
        "0",
        "0.5",
        "1 restorer",
        "1.5",
        "clean",
    ]
    np.testing.assert_array_equal(strip[3].images[0].get_array(), crops[0].pixels[3])


def test_the_strip_has_the_restorer_among_many_alphas(tree: Tree) -> None:
    folder = tree.transport(MOVED)
    first = transport.read_crops(folder / "crops")[0]
    alphas = [-0.5, 0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.25, 1.3, 1.5]
    many = transport.Crops(first.name, alphas, [first.clean] * len(alphas), first.clean)
    figure = transport.perception_distortion(
        {MOVED: transport.read_curve(folder / "curve.csv")}, {MOVED: many}
    )
    titles = [axes.get_title(loc="left") for axes in figure.subfigs[1].axes]
    assert {"0", "1 restorer", "clean"} < set(titles) and len(titles) <= 11
    assert titles == [*sorted(titles[:-1], key=lambda title: float(title.split()[0])), "clean"]


def test_the_slider_gets_every_crop_with_its_measures(tree: Tree) -> None:
    entries = transport.alpha_images(MOVED, tree.transport(MOVED))
    assert [entry["image"] for entry in entries] == ["astronaut", "coffee"]
    assert [step["alpha"] for step in entries[0]["steps"]] == [-0.5, 0, 0.5, 1, 1.5]
    assert entries[0]["steps"][1]["measures"] == "PSNR 29.19 dB, SWD 5.00, NIQE 4.00"
    assert all(step["src"].startswith("data:image/jpeg") for step in entries[0]["steps"])
    assert entries[0]["size"] == 64


def test_the_report_has_the_slider_where_there_is_a_transport(tree: Tree, tmp_path: Path) -> None:
    page = report_fixture.write_report(tree, {}).read_text()
    assert 'id="alpha-value"' in page and MOVED in page


def test_files_that_are_none(tmp_path: Path) -> None:
    write_csv(tmp_path / "curve.csv", [{"point": "alpha", "alpha": 0, "psnr": 1, "swd": 1}])
    with pytest.raises(NopairsError, match="no row with alpha 1"):
        transport.read_curve(tmp_path / "curve.csv")
    write_csv(tmp_path / "other.csv", [{"alpha": 1}])
    with pytest.raises(NopairsError, match="no column point, psnr, swd"):
        transport.read_curve(tmp_path / "other.csv")
    with pytest.raises(NopairsError, match="no crops"):
        transport.read_crops(tmp_path)


def test_the_example_in_the_plane_is_drawn(tmp_path: Path) -> None:
    assert (
        report_fixture.run_script("plot_mixture", "--points", "500", "--out", tmp_path / "mixture.png") == 0
    )
    assert (tmp_path / "mixture.png").stat().st_size and (tmp_path / "mixture.pdf").stat().st_size


def test_crops_go_from_the_moved_image_to_the_restored_one(tmp_path: Path) -> None:
    clean, restored = np.random.default_rng(0).integers(50, 200, (2, 40, 48, 3)).astype(np.uint8)
    write_crops(tmp_path / "photo", clean, restored, [0.0, 0.5, 1.0], lambda images: images + 0.2)
    found = read_json(tmp_path / "photo/crops.json")
    assert found["alphas"] == [0.0, 0.5, 1.0] and found["size"] == 40
    place = (slice(found["y"], found["y"] + 40), slice(found["x"], found["x"] + 40))
    np.testing.assert_array_equal(read_rgb(tmp_path / "photo/clean.png"), clean[place])
    for name, brighter in (("00", 51), ("01", 25.5), ("02", 0)):
        crop = read_rgb(tmp_path / f"photo/{name}.png")
        np.testing.assert_allclose(crop, restored[place] + float(brighter), atol=0.51)
