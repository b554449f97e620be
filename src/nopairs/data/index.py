"""A dataset's `index.csv`: which files it holds, and of which photo, scene and role each is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def read_index(dataset: Path) -> pd.DataFrame:
    """Read the index in a dataset's folder, all cells as text: a photo may be called 7 or NA."""
    return pd.read_csv(dataset / "index.csv", dtype=str, keep_default_na=False)
