"""Options of the training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nopairs.errors import NopairsError

SCHEDULES = ("constant", "halve", "cosine", "linear")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained.

    steps: optimiser steps.
    batch: crops a step; a learner from two domains takes half from each.
    crop: side of the square crops, pixels.
    align: crops begin at multiples of so many pixels of their tile: 8 leaves JPEG's blocks in one place, which a network with strides
        can learn. Tiles that are degraded after they are cut have whole blocks; those cut from JPEGs only where their corners do, and the
        last ones of a row or column need not.
    lr: Adam's learning rate.
    schedule: constant; halve (at each of `milestones`, steps); cosine (to `final_lr`); linear (constant for the first half, then
        linearly to `final_lr`).
    warmup: steps over which the rate rises linearly from zero.
    ema: decay of the exponential moving average of the weights that is validated and saved; 0 saves the last weights.
    betas: decays of Adam's two moments.
    weight_decay: AdamW's; 0 is Adam.
    clip: largest norm of the gradient; 0 does not clip.
    skips: so many batches whose loss or its gradient is not finite are left out before the training fails.
    precision: auto takes bfloat16 where the hardware is faster with it, otherwise float32.
    compile: whether to pass the network through torch.compile.
    validate_every: steps between validations; the best validated weights are saved. 0 saves the final ones.
    log_every: steps between rows of log.csv.
    save_every: seconds between saved training states.
    """

    steps: int
    batch: int = 16
    crop: int = 64
    align: int = 1
    lr: float = 1e-4
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    final_lr: float = 0.0
    warmup: int = 0
    ema: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 0.0
    skips: int = 0
    precision: str = "auto"
    compile: bool = False
    validate_every: int = 0
    log_every: int = 50
    save_every: float = 60.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop", "align", "log_every"):
            if getattr(self, name) < 1:
                raise NopairsError(f"training: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("warmup", "weight_decay", "clip", "skips", "validate_every", "save_every", "final_lr"):
            if getattr(self, name) < 0:
                raise NopairsError(f"training: {name} is {getattr(self, name)}; it must not be negative")
        if self.crop % self.align:
            raise NopairsError(f"training: crop {self.crop} must be a multiple of align {self.align}")
        if not (0 < self.lr < math.inf and 0 <= self.ema < 1):
            raise NopairsError(
                f"training: lr {self.lr} must be positive and finite, ema {self.ema} within [0, 1)"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise NopairsError(f"training: betas {list(self.betas)} must be within [0, 1)")
        for name, known in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise NopairsError(
                    f"training: {name} {getattr(self, name)!r} is unknown; take one of {', '.join(known)}"
                )
