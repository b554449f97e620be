"""Scenes into roles: disjoint, never empty, the same for the same number."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from nopairs.data.splits import split_scenes
from nopairs.errors import NopairsError

SHARES = {"clean": 7, "degraded": 8, "val": 3, "test": 5}
SCENES = [f"scene {k}" for k in range(23)]


def scenes_of(roles: dict[str, str], role: str) -> set[str]:
    return {scene for scene, given in roles.items() if given == role}


@pytest.mark.parametrize("split", range(10))
def test_every_scene_has_one_role_and_every_role_its_share(split: int) -> None:
    roles = split_scenes(SCENES, SHARES, split)
    assert set(roles) == set(SCENES)
    assert Counter(roles.values()) == SHARES


def test_a_split_depends_on_nothing_but_its_number_and_the_names() -> None:
    shuffled = random.Random(0).sample(SCENES * 3, 69)  # photos: several a scene, in any order
    assert split_scenes(shuffled, SHARES, 3) == split_scenes(SCENES, SHARES, 3)
    # Written down once: published tables name their split, so it may never become another one.
    expected = {"a": "val", "b": "clean", "c": "clean", "d": "degraded", "e": "degraded", "f": "test"}
    assert split_scenes("abcdef", {"clean": 1, "degraded": 1, "val": 1, "test": 1}, 0) == expected


def test_a_round_of_splits_tests_on_disjoint_scenes_and_the_next_round_on_others() -> None:
    tests = [scenes_of(split_scenes(SCENES, SHARES, split), "test") for split in range(8)]
    for first in (0, 4):  # 23 scenes, 5 of them for tests: four splits a round
        assert len(set.union(*tests[first : first + 4])) == 20
    assert not {frozenset(test) for test in tests[:4]} & {frozenset(test) for test in tests[4:]}


@pytest.mark.parametrize("shares", [{"clean": 1000, "val": 1, "test": 1}, {"val": 1, "test": 9}])
@pytest.mark.parametrize("count", [3, 4, 11])
def test_no_role_is_empty_however_small_its_share(shares: dict[str, int], count: int) -> None:
    roles = split_scenes(SCENES[:count], shares, split=1)
    assert set(roles.values()) == set(shares) and len(roles) == count


def test_too_few_scenes_are_refused() -> None:
    with pytest.raises(NopairsError, match="3 scenes cannot be split into 4 roles"):
        split_scenes(SCENES[:3], SHARES, 0)
