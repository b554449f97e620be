"""Networks and flows that learn from observations: their determinant, a posterior that is known, and what they are told."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from nopairs.errors import NopairsError
from nopairs.priors.operators import BlurDownsample, BlurDownsampleOptions, Identity, IdentityOptions
from nopairs.priors.wppflow import WPPFlow, WPPFlowOptions
from nopairs.priors.wppnet import ObservationData, WPPNet, WPPNetOptions
from nopairs.training.loop import Trainer
from nopairs.training.options import TrainingOptions

SMALLER = BlurDownsample(BlurDownsampleOptions(size=4, sigma=1.0, factor=2, noise=0.02))
SMALL = {"fold": 2, "width": 8, "depth": 1, "edge": 4, "patch_size": 4, "references": 150}


def gravel(part: slice) -> torch.Tensor:
    return torch.from_numpy(data.gravel()[part, :192] / 255).float()[None]


def train(network: WPPNet, observed: torch.Tensor, steps: int, folder: Path, lr: float = 3e-3) -> list[dict]:
    operator = network.operator
    training = TrainingOptions(steps, 4, 32, lr=lr, precision="float32", log_every=1)
    batches = ObservationData([observed[0].numpy()], [], network.options, training, operator)
    trainer = Trainer(network, batches, training, folder, seed=0, device=torch.device("cpu"), fingerprint="x")
    network.load_state_dict(trainer.run().weights)
    return trainer.state.log


def test_the_determinant_of_a_flow() -> None:
    torch.manual_seed(0)
    flow = WPPFlow(WPPFlowOptions(**SMALL, hidden=6, blocks=3)).double()  # type: ignore[arg-type]
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    start = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    latent = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow.to_images(z, start)[0], latent)
    _, logarithms = flow.to_images(latent, start)
    torch.testing.assert_close(
        torch.linalg.slogdet(jacobian.view(16, 16)).logabsdet, logarithms.sum(), atol=1e-4, rtol=1e-4
    )


def test_a_posterior_that_is_known(tmp_path: Path) -> None:
    """Without a prior, what was observed with noise of 0.02 was N(observed, 0.02^2)."""
    torch.manual_seed(0)
    flow = WPPFlow(WPPFlowOptions(**SMALL, strength=0.0, hidden=8, blocks=2, spread=0.1))  # type: ignore[arg-type]
    flow.operator = Identity(IdentityOptions(0.02))
    observed = flow.operator.observe(gravel(slice(0, 96))[None], torch.Generator().manual_seed(0))
    train(flow, observed, 150, tmp_path, lr=0.01)
    samples = flow.sample(observed, flow.operator, 32, seed=0)
    assert abs(float(samples.std(0).mean()) / 0.02 - 1) < 0.15
    assert float((samples.mean(0) - observed).square().mean().sqrt()) < 0.01
    assert torch.equal(samples, flow.sample(observed, flow.operator, 32, seed=0))


def test_a_network_learns_without_the_truth(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = WPPNet(WPPNetOptions(**SMALL, strength=50.0))  # type: ignore[arg-type]
    network.operator = SMALLER
    network.fit(gravel(slice(0, 192)), 0)
    reference = network.duals[0].get_buffer("reference").clone()
    clean = gravel(slice(192, 384))[None]
    observed = SMALLER.observe(clean, torch.Generator().manual_seed(0))
    log = train(network, observed, 80, tmp_path)
    first, last = (np.mean([row["loss"] for row in part]) for part in (log[:10], log[-10:]))
    assert last < 0.8 * first
    found = network.reconstruct(observed, SMALLER, network.Reconstruction())
    errors = [float((image - clean).square().mean()) for image in (found, SMALLER.start(observed))]
    assert errors[0] < errors[1]
    assert torch.equal(network.duals[0].get_buffer("reference"), reference)
    assert float(network.duals[0].get_buffer("steps")) == 160


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(NopairsError, match="references is 0"):
        WPPNetOptions(references=0)
    with pytest.raises(NopairsError, match="fold must be at least 2"):
        WPPFlowOptions(fold=1)
    with pytest.raises(NopairsError, match="without an `operator:`"):
        ObservationData([], [], WPPNetOptions(), TrainingOptions(1), None)
    small = np.zeros((1, 4, 4), np.float32)
    with pytest.raises(NopairsError, match="smaller than a patch of 16x16"):
        ObservationData([small], [], WPPNetOptions(), TrainingOptions(1, crop=32), SMALLER)


def test_the_loss_is_the_likelihood_by_pixel_and_strength_times_the_distance() -> None:
    torch.manual_seed(0)
    network = WPPNet(WPPNetOptions(**SMALL, strength=50.0))  # type: ignore[arg-type]
    network.operator = SMALLER
    found = torch.rand(2, 1, 32, 32)
    costs = network.costs(found, SMALLER(found) + 0.1)
    # Of the observed pixels, a quarter of the image's, each differs by five deviations.
    assert float(costs["misfit"]) == pytest.approx(5**2 / 2 / 4, rel=1e-4)
    assert costs["distance"] > 0.01
    torch.testing.assert_close(costs["loss"], costs["misfit"] + 50 * costs["distance"])


@pytest.mark.parametrize("edge", [3, 4])
def test_the_rim_of_an_observation_does_not_count(edge: int) -> None:
    """An edge of three or four pixels is of two of the small image's."""
    network = WPPNet(WPPNetOptions(**{**SMALL, "edge": edge}))  # type: ignore[arg-type]
    network.operator = SMALLER
    found = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    observed = SMALLER(found) + 1
    observed[..., 2:-2, 2:-2] -= 0.9
    costs = network.costs(found, observed)
    assert float(costs["misfit"]) == pytest.approx(5**2 / 2 / 4, rel=1e-4)


def test_patches_at_the_edge_of_an_image_do_not_count() -> None:
    network = WPPNet(WPPNetOptions(**SMALL))  # type: ignore[arg-type]
    network.operator = SMALLER
    found = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    spoilt = found + 1
    spoilt[..., 4:-4, 4:-4] -= 1
    inner = spoilt.clone()
    inner[..., 4:8, 4:8] += 1
    distances = []
    for image in (found, spoilt, inner):
        torch.manual_seed(0)
        distances.append(deepcopy(network).costs(image, SMALLER(image))["distance"])
    torch.testing.assert_close(distances[0], distances[1])
    assert abs(distances[2] - distances[0]) > 1e-4


def test_a_flows_volume_is_within_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = WPPFlow(WPPFlowOptions(**SMALL, strength=0.0, hidden=4, blocks=1))  # type: ignore[arg-type]
    flow.operator = SMALLER
    image, logarithms = torch.rand(1, 1, 32, 32), torch.full((1, 1, 32, 32), 5.0)
    logarithms[..., 4:-4, 4:-4] = -2
    monkeypatch.setattr(flow, "to_images", lambda latent, start: (image, logarithms))
    losses = flow.losses(0.0, observed=SMALLER(image) + 0.1)
    assert float(losses["volume"]) == -2
    torch.testing.assert_close(losses["loss"], losses["misfit"] + 2)
