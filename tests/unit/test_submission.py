"""The files that the SIDD benchmark scores."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from report_fixture import run_script

from nopairs.data.images import write_png
from nopairs.errors import NopairsError
from nopairs.reporting.submission import read_blocks

IMAGES, BLOCKS, SIDE = 3, 11, 8  # block 10 comes before block 2 by name


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    folder = tmp_path / "restored"
    folder.mkdir()
    for image in range(IMAGES):
        for block in range(BLOCKS):
            write_png(folder / f"{image}__{block}.png", pixels(image, block))
    return folder


def pixels(image: int, block: int) -> np.ndarray:
    return np.random.default_rng([image, block]).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def test_both_files_hold_every_block_at_its_place(restored: Path, tmp_path: Path) -> None:
    timing = tmp_path / "restore.tsv"
    timing.write_text("s\th:m:s\n2.5\t0:00:02\n")
    arguments = [
        "--restored",
        restored,
        "--method",
        "awgn+dncnn",
        "--timing",
        timing,
        "--out",
        tmp_path / "out",
    ]
    assert run_script("submit", *arguments) == 0
    mat = scipy.io.loadmat(tmp_path / "out/SubmitSrgb.mat")
    blocks = mat["DenoisedBlocksSrgb"]
    assert blocks.shape == (IMAGES, BLOCKS)
    rows = pd.read_csv(tmp_path / "out/SubmitSrgb.csv")
    assert rows.columns.tolist() == ["ID", "BLOCK"] and rows.ID.tolist() == list(range(IMAGES * BLOCKS))
    for image, block in np.ndindex(IMAGES, BLOCKS):
        expected = pixels(image, block)
        assert blocks[image, block].dtype == np.uint8
        np.testing.assert_array_equal(blocks[image, block], expected)
        text = rows.BLOCK[image * BLOCKS + block]
        found = np.frombuffer(base64.b64decode(text), np.uint8).reshape(SIDE, SIDE, 3)
        np.testing.assert_array_equal(found, expected)
    megapixels = IMAGES * BLOCKS * SIDE * SIDE / 1e6
    assert mat["TimeMPSrgb"].item() == pytest.approx(2.5 / megapixels)
    assert mat["OptionalData"]["MethodName"].item().item() == "awgn+dncnn"


def test_what_is_not_whole_is_refused(restored: Path) -> None:
    (restored / "1__10.png").rename(restored / "other.png")
    with pytest.raises(NopairsError, match=r"other\.png: not called <image>__<block>.png"):
        read_blocks(restored)
    (restored / "other.png").unlink()
    with pytest.raises(NopairsError, match=r"1__10\.png is missing; restore all 3 x 11 blocks"):
        read_blocks(restored)
    write_png(restored / "1__10.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(NopairsError, match="several sizes"):
        read_blocks(restored)
