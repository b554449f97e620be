"""Learning rates as pure functions of the step."""

from __future__ import annotations

import math

from nopairs.training.options import TrainingOptions


def learning_rate(options: TrainingOptions, step: int) -> float:
    """Return the learning rate of `step` (0-based)."""
    warm = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    if options.schedule == "halve":
        return warm * options.lr * 0.5 ** sum(step >= milestone for milestone in options.milestones)
    if options.schedule == "cosine":
        done = max(0.0, step - options.warmup) / max(1, options.steps - options.warmup)
        return warm * (
            options.final_lr + (options.lr - options.final_lr) * 0.5 * (1 + math.cos(math.pi * done))
        )
    if options.schedule == "linear":
        left = min(1.0, 2 * (1 - step / options.steps))
        return warm * (options.final_lr + (options.lr - options.final_lr) * left)
    return warm * options.lr
