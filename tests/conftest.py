"""Fixtures that several test folders share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import report_fixture

from nopairs.torch_compat import make_torchvision_importable

# Tests import lpips and torchvision themselves, before the library does.
make_torchvision_importable()


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> report_fixture.Tree:
    """A made-up results tree with paired test images, and all its figures."""
    tree = report_fixture.write(tmp_path_factory.mktemp("paired"))
    report_fixture.draw_figures(tree)
    return tree


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """A function that returns the report of a made-up results tree, with or without paired test images."""
    made: dict[bool, Path] = {}

    def report(paired: bool) -> Path:
        if paired not in made:
            tree = report_fixture.write(tmp_path_factory.mktemp("report"), paired=paired)
            made[paired] = report_fixture.write_report(tree, report_fixture.draw_figures(tree))
        return made[paired]

    return report
