"""The critic of patches: its gradient penalty, what it learns, and what it is worth as a prior."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors.local_ar import CriticData, LocalAR, LocalARDescent, LocalAROptions
from nopairs.priors.operators import Identity, IdentityOptions
from nopairs.training.loop import Trainer
from nopairs.training.options import TrainingOptions

NOISY = Identity(IdentityOptions(noise=0.1))
SMALL = LocalAROptions(depth=3, width=16, edge=4)


def brick(part: slice) -> np.ndarray:
    return data.brick()[None, part, :192]


@pytest.fixture(scope="module")
def critic(tmp_path_factory: pytest.TempPathFactory) -> LocalAR:
    torch.manual_seed(0)
    prior = LocalAR(SMALL)
    training = TrainingOptions(150, 4, 64, lr=3e-3, betas=(0.0, 0.9), precision="float32")
    batches = CriticData(brick(slice(256)), [], SMALL, training, NOISY)
    folder = tmp_path_factory.mktemp("critic")
    trainer = Trainer(prior, batches, training, folder, seed=0, device=torch.device("cpu"), fingerprint="x")
    prior.load_state_dict(trainer.run().weights)
    return prior


def test_the_penalty_of_a_linear_critic_is_that_of_its_slope() -> None:
    prior = LocalAR(LocalAROptions(depth=1, width=1, edge=0))
    first, _, last = prior.critic
    torch.nn.init.constant_(first.weight, 1.0)  # type: ignore[arg-type]
    torch.nn.init.zeros_(first.bias)  # type: ignore[arg-type]
    torch.nn.init.constant_(last.weight, 0.5)  # type: ignore[arg-type]
    clean, start = torch.full((2, 1, 6, 6), 0.25), torch.full((2, 1, 6, 6), 0.75)
    losses = prior.losses(0.0, clean=clean, start=start)
    # The critic is half the sum over nine pixels: its gradient has norm 1.5, and the two differ by 9 * 0.5 * 0.5.
    assert losses["distance"].item() == pytest.approx(2.25, rel=1e-4)
    assert losses["loss"].item() == pytest.approx(10 * 0.5**2 - 2.25, rel=1e-4)


def test_it_sees_patches_of_the_size_it_says() -> None:
    prior = LocalAR(SMALL)
    assert prior(torch.rand(1, 1, 20, 31)).shape == (1, 1, 14, 25)
    assert prior._patches(torch.rand(3, 1, 8 + 14, 8 + 21)).shape == (3 * 2 * 3, 1, 7, 7)


def test_it_tells_clean_patches_of_another_part_from_first_guesses(critic: LocalAR) -> None:
    clean = torch.from_numpy(brick(slice(320, 512)) / 255).float()[None]
    start = NOISY.start(NOISY.observe(clean, torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        assert float(critic(start).mean()) > float(critic(clean).mean()) + 0.1


def test_its_penalty_brings_a_reconstruction_nearer_to_the_truth(critic: LocalAR) -> None:
    clean = torch.from_numpy(brick(slice(320, 512)) / 255).float()[None]
    observed = NOISY.observe(clean, torch.Generator().manual_seed(1))
    options = LocalARDescent(strength=3.0, steps=40, lr=0.02)
    found = critic.reconstruct(observed, NOISY, options)
    assert float((found - clean).square().mean()) < 0.4 * float((observed - clean).square().mean())
    assert torch.equal(found, critic.reconstruct(observed, NOISY, options))
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(NopairsError, match="must be positive"):
        LocalAROptions(gradient_penalty=0)
    with pytest.raises(NopairsError, match="smaller than a patch of 7"):
        CriticData(brick(slice(256)), [], SMALL, TrainingOptions(1, 1, 14), NOISY)
