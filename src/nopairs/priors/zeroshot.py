"""Learning from the observation alone: patches of natural images recur on smaller scales (Glasner, Bagon, Irani, 2009).

`ZeroShotPatchNR` learns patchNR's flow from the patches of the small image itself; `ZSSR` (Shocher, Cohen, Irani, 2018) learns a network
from pairs of the small image and what the operator would make of it. Both are trained again for every observation.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch

from nopairs.errors import NopairsError
from nopairs.priors import patches
from nopairs.priors.base import NoOptions, Prior, as_images, check_training, seeded
from nopairs.priors.operators import Operator
from nopairs.priors.patchnr import PatchNR, PatchNRDescent, PatchNROptions, find
from nopairs.priors.supervised import PairData, Supervised, SupervisedOptions
from nopairs.training.hardware import autocast
from nopairs.training.options import TrainingOptions
from nopairs.training.run import train_in_passing
from nopairs.training.schedule import learning_rate

# Decay of the average of the weights of a training.
AVERAGE = 0.99


@dataclass(frozen=True, kw_only=True)
class ZeroShotDescent(PatchNRDescent):
    """As `PatchNRDescent`, and how a flow is trained for each image; the paper's are strength 0.3, 10,000 steps of 128 at 1e-4.

    training_steps, batch, training_lr: of its training, whose rate falls along a cosine.
    """

    strength: float = 0.3
    steps: int = 60
    lr: float = 0.01
    training_steps: int = 600
    batch: int = 512
    training_lr: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_training("patchnr_zeroshot", self.training_steps, self.batch, self.training_lr)


class ZeroShotPatchNR(Prior):
    """A flow for each observation, from its own patches in their eight symmetries, whatever `symmetries` says."""

    Options = PatchNROptions
    Reconstruction = ZeroShotDescent
    from_images = False
    at_once = 48

    def __init__(self, options: PatchNROptions) -> None:
        super().__init__()
        self.options = options

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: ZeroShotDescent, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images."""
        operator.check_observed(observed)
        flows = Flows(self.options, observed, seed)
        flows.train_on(observed, options, seed)
        return find(flows, self.options, flows.whiten, observed, operator, options, seed)


class Flows:
    """A flow for each of some observations of one size; batched products train and apply all of them at once."""

    def __init__(self, options: PatchNROptions, observed: torch.Tensor, seed: int) -> None:
        flow = seeded(lambda: PatchNR(options), seed)
        flows = [deepcopy(flow) for _ in observed]
        for own, one in zip(flows, observed.cpu(), strict=True):
            own.fit(one, seed)
        parameters, _ = torch.func.stack_module_state(flows)
        self.flow = flow.to(observed.device)
        self.parameters = {
            name: value.detach().to(observed.device).requires_grad_(True)
            for name, value in parameters.items()
        }
        self.whiten = torch.stack([own.whiten for own in flows]).to(observed.device)
        self.centre = torch.stack([own.centre for own in flows]).to(observed.device)
        self._densities = torch.func.vmap(self._density)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Map patches (batch, patches, size^2) to their negative log densities by pixel, (batch, patches)."""
        return self._densities(self.parameters, self.whiten, self.centre, rows)

    def _density(
        self,
        parameters: dict[str, torch.Tensor],
        whiten: torch.Tensor,
        centre: torch.Tensor,
        rows: torch.Tensor,
    ) -> torch.Tensor:
        state = {**parameters, "whiten": whiten, "centre": centre}
        return torch.func.functional_call(self.flow, state, (rows,))

    def train_on(self, observed: torch.Tensor, options: ZeroShotDescent, seed: int) -> None:
        """Maximise the likelihood of patches of observations (batch, channels, h, w), the same places of each, as one training would."""
        size = self.flow.options.patch_size
        rows = patches.every(observed.flatten(0, 1), size).view(len(observed), -1, size * size)
        schedule = TrainingOptions(
            options.training_steps, options.batch, lr=options.training_lr, schedule="cosine"
        )
        generator, device = torch.Generator().manual_seed(seed), observed.device
        drawn = torch.randint(rows.shape[1] * 8, (schedule.steps, schedule.batch), generator=generator).to(
            device
        )
        turns = patches.turns(size).to(device)
        learned = list(self.parameters.values())
        average = [value.detach().clone() for value in learned]
        adam = torch.optim.Adam(learned, lr=schedule.lr, fused=device.type == "cuda")
        finite = torch.ones((), dtype=torch.bool, device=device)
        for step in range(schedule.steps):
            places = drawn[step]
            batch = rows[:, places // 8]
            batch = batch.gather(2, turns[places % 8].expand_as(batch))
            adam.param_groups[0]["lr"] = learning_rate(schedule, step)
            with autocast(device, options.precision):
                loss = self(batch).mean(1).sum()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            finite &= loss.detach().isfinite()
            with torch.no_grad():
                torch._foreach_lerp_(average, learned, 1 - min(AVERAGE, (1 + step) / (10 + step)))
        if not bool(finite):
            raise NopairsError(
                "patchnr_zeroshot: the likelihood of an observation's patches is not finite; lower `training_lr`"
            )
        self.parameters = dict(zip(self.parameters, average, strict=True))


@dataclass(frozen=True, kw_only=True)
class ZSSRTraining:
    """training_steps, batch, crop, lr: of the training for each image, whose rate falls along a cosine."""

    training_steps: int = 600
    batch: int = 4
    crop: int = 64
    lr: float = 1e-3

    def __post_init__(self) -> None:
        check_training("zssr", self.training_steps, self.batch, self.lr)


class ZSSR(Prior):
    """A network for each observation, from what the operator makes of parts of it."""

    Options = SupervisedOptions
    Reconstruction = ZSSRTraining
    from_images = False

    def __init__(self, options: SupervisedOptions) -> None:
        super().__init__()
        self.options = options

    def reconstruct(
        self, observed: torch.Tensor, operator: Operator, options: ZSSRTraining, seed: int = 0
    ) -> torch.Tensor:
        """Map observations (batch, channels, h, w) to images."""
        operator.check_observed(observed)
        crop = min(options.crop, *operator.fitting_size((observed.shape[-2], observed.shape[-1])))
        training = TrainingOptions(
            options.training_steps, options.batch, crop, lr=options.lr, schedule="cosine", ema=0.99
        )
        found = []
        for one in observed:
            network = seeded(lambda: Supervised(self.options), seed)
            data = PairData(as_images(one), [], self.options, training, operator)
            train_in_passing(network, data, training, seed, observed.device)
            found.append(network.eval().reconstruct(one[None], operator, NoOptions(), seed))
        return torch.cat(found)
