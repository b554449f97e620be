"""The Wasserstein patch prior: distances and gradients against exact transport, and a reconstruction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors import patches, wpp
from nopairs.priors.operators import BlurDownsample, BlurDownsampleOptions
from nopairs.priors.variational import Penalty
from nopairs.priors.wpp import WPP, Dual, WPPDescent, WPPOptions

SMALLER = BlurDownsample(BlurDownsampleOptions(size=8, sigma=1.5, factor=2, noise=0.01))


def texture(part: slice) -> torch.Tensor:
    return torch.from_numpy(data.brick()[None, 200:328, part] / 255).float()


def sets(count: int, others: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(count, 5, generator=generator),
        1.5 * torch.randn(others, 5, generator=generator) + 0.3,
    )


def ascended(rows: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The distance after many steps."""
    dual = Dual(reference, lr=0.5)
    for _ in range(20):
        distance = dual(rows, 100)
    return distance


def test_the_distance_is_half_of_the_exact_one() -> None:
    """For sets of one size optimal transport is an assignment."""
    rows, reference = sets(80, 80)
    costs = torch.cdist(rows, reference).square().numpy()
    exact = costs[linear_sum_assignment(costs)].mean()
    distance = float(ascended(rows, reference))
    assert 0.99 * exact / 2 < distance <= exact / 2 + 1e-5  # the dual is below the primal
    assert float(Dual(reference, lr=0.5)(rows, 1)) < distance


def test_distance_and_gradient_are_those_of_exact_transport_between_sets_of_different_sizes() -> None:
    rows, reference = sets(200, 50)
    costs = torch.cdist(rows, reference).square()
    plan = torch.from_numpy(
        ot.emd(np.full(200, 1 / 200), np.full(50, 1 / 50), costs.double().numpy())
    ).float()
    leaf = rows.clone().requires_grad_(True)
    distance = ascended(leaf, reference)
    assert abs(distance.item() / float((plan * costs).sum() / 2) - 1) < 0.01
    (gradient,) = torch.autograd.grad(distance, leaf)
    expected = rows / 200 - plan @ reference
    cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), expected.flatten(), dim=0)
    assert cosine > 0.97


def test_the_gradient_is_a_finite_difference_of_the_distance() -> None:
    rows, reference = sets(40, 60)
    dual = Dual(reference, lr=0.5)
    dual(rows, 300)
    leaf = rows.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(dual(leaf, 1), leaf)
    move = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))
    ends = []
    for step in (0.01, -0.01):
        fresh = Dual(reference, lr=0.5)
        for _ in range(20):
            end = fresh(rows + step * move, 100)
        ends.append(float(end))
    assert abs((ends[0] - ends[1]) / 0.02 - float((gradient * move).sum())) < 0.02


def test_blocks_of_distances_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, reference = sets(100, 30)
    dual, psi = Dual(reference, lr=0.5), torch.linspace(0, 1, 30)
    whole = dual.nearest(rows, psi)
    expected = (torch.cdist(rows, reference).square() / 2 - psi).argmin(1)
    monkeypatch.setattr(wpp, "BLOCK", 7 * 30)
    assert torch.equal(dual.nearest(rows, psi), whole) and torch.equal(whole, expected)


@pytest.mark.parametrize("count", [3, 7, 10])
def test_references_are_as_many_as_asked_whatever_the_number_of_images(count: int) -> None:
    images = torch.arange(7.0).view(7, 1, 1).expand(7, 20, 20)
    drawn = patches.references(images, 4, count, torch.Generator().manual_seed(0))
    assert drawn.shape == (count, 16)
    assert len({float(patch[0]) for patch in drawn}) >= min(
        count, 5
    )  # of many images, not of the first alone


def test_a_pyramid_keeps_means_and_halves_sides() -> None:
    image = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    scales = wpp.pyramid(image, 3)
    assert [tuple(scale.shape[-2:]) for scale in scales] == [(40, 50), (19, 24), (8, 11)]
    torch.testing.assert_close(
        wpp.pyramid(torch.full((1, 1, 20, 20), 0.3), 2)[1], torch.full((1, 1, 9, 9), 0.3)
    )


def test_it_super_resolves_and_is_saved_with_its_reference(tmp_path: Path) -> None:
    prior = WPP(WPPOptions(patch_size=4))
    prior.fit(texture(slice(0, 256)), seed=0)
    clean = texture(slice(384, 448))[None]
    observed = SMALLER.observe(clean, torch.Generator().manual_seed(0))
    how = WPPDescent(strength=100.0, steps=50, lr=0.02, references=1500, stride=2, dual_steps=3)
    found = prior.reconstruct(observed, SMALLER, how)
    errors = [float((image - clean).square().mean()) for image in (SMALLER.start(observed), found)]
    assert 10 * np.log10(errors[0] / errors[1]) > 0.5
    other = WPP(WPPOptions(patch_size=4))
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other.reconstruct(observed, SMALLER, how), found)


def test_bad_options_are_refused() -> None:
    with pytest.raises(NopairsError, match="references is 0"):
        WPPDescent(references=0)
    with pytest.raises(NopairsError, match="smaller than a patch on scale 2"):
        WPP(WPPOptions()).fit(torch.zeros(1, 12, 40), 0)


def test_the_penalty_is_by_pixel_and_against_the_reference_of_each_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chessboard is flat on the second scale; with a single reference patch nothing is left to be dealt."""
    board = (torch.arange(40)[:, None] + torch.arange(40)) % 2
    prior = WPP(WPPOptions(patch_size=4, scales=2))
    prior.fit(board[None].float(), seed=0)
    penalties: list[Penalty] = []
    monkeypatch.setattr(
        wpp, "minimise", lambda observed, operator, penalty, *_: penalties.append(penalty) or observed
    )
    prior.reconstruct(torch.zeros(1, 1, 20, 20), SMALLER, WPPDescent(references=1))
    found = penalties[0](torch.full((1, 1, 40, 40), 0.3), torch.Generator().manual_seed(0))
    flat = float(wpp.pyramid(board[None, None].float(), 2)[1].mean())
    assert abs(flat - 0.5) < 0.1
    expected = (0.3**2 + 0.7**2) / 2 / 2 + (0.3 - flat) ** 2 / 2
    torch.testing.assert_close(found, torch.tensor([expected]), atol=1e-5, rtol=0)
