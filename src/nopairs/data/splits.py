"""Scenes into roles: which scenes train, choose and measure, as a function of the split's number alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from nopairs.errors import NopairsError


def split_scenes(scenes: Iterable[str], shares: Mapping[str, int], split: int) -> dict[str, str]:
    """Give every scene one role.

    Scenes are put on a circle in an order that a digest shuffles, and dealt in blocks, `test` first. Each further split
    starts where the last one's test scenes ended, so that a round of splits tests on disjoint scenes; every round has an
    order of its own.

    Args:
        scenes: names; repeated ones count once, and their order does not matter.
        shares: role -> its share of the scenes, in any unit.
        split: the split's number, from 0.

    Returns:
        scene -> role; every role has at least one scene.

    Raises:
        NopairsError: there are fewer scenes than roles.
    """
    names = set(scenes)
    counts = _counts(len(names), shares)
    first = "test" if "test" in counts else next(iter(counts))
    round_, turn = divmod(split, max(1, len(names) // counts[first]))
    order = sorted(names, key=lambda scene: hashlib.sha256(f"{round_}/{scene}".encode()).digest())
    start = turn * counts[first]
    circle = iter(order[start:] + order[:start])
    roles = [first, *(role for role in counts if role != first)]
    return {next(circle): role for role in roles for _ in range(counts[role])}


def _counts(total: int, shares: Mapping[str, int]) -> dict[str, int]:
    """Divide `total` scenes by the shares: one each, the others where most are still missing."""
    if total < len(shares):
        raise NopairsError(
            f"{total} scenes cannot be split into {len(shares)} roles ({', '.join(shares)}); add photos of other scenes"
        )
    counts = dict.fromkeys(shares, 1)
    whole = sum(shares.values())
    for _ in range(total - len(shares)):
        counts[max(shares, key=lambda role: shares[role] * total / whole - counts[role])] += 1
    return counts
