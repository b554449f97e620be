"""The game of neural optimal transport, and that of generative adversarial networks with a content loss (`ots_abstract_intro.md`).

    OTS:  max_f min_T  E[c(y, T(y)) - f(T(y))] + E[f(x)]
    GAN:  min_T  weight E[c(y, T(y))] + D(T#P, Q)

In the first T moves mass as cheaply as it can *to where f rewards it*, and f raises its reward where mass is missing: at the saddle
point T#P = Q, whatever the cost's scale. In the second cost and distance are weighed against each other, and the map stops short.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from nopairs.training import parallel


def map_turn(step: int, inner: int) -> bool:
    """Whether a step is one of the `inner` steps of the map, after which comes one of its opponent."""
    return step % (inner + 1) < inner


def map_loss(cost: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
    """Return E[c(y, T(y))] - E[f(T(y))]; `cost` is its own mean, `reward` f of each moved image."""
    return cost - reward.mean()


def potential_loss(reward_moved: torch.Tensor, reward_target: torch.Tensor) -> torch.Tensor:
    """Return what the potential minimises, E[f(T(y))] - E[f(x)]; it needs no penalty of its gradient."""
    return reward_moved.mean() - reward_target.mean()


def gradient_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor], moved: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return E max(0, |grad f| - 1)^2 between moved and target points, (batch, ...), which keeps a critic near 1-Lipschitz.

    One-sided (Petzka et al., On the regularization of Wasserstein GANs, 2018, equation 8): to hold the slope *at* 1, as the first paper
    did, would not let a critic be flat where the two distributions agree. The line between two points is followed a quarter further
    at either end, where maps find themselves that overshoot.
    """
    share = 1.5 * torch.sigmoid(2 * parallel.randn((len(moved), *[1] * (moved.ndim - 1)))).to(moved) - 0.25
    between = (share * moved.detach() + (1 - share) * target).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).clamp(min=0).square().mean()


def slope_penalty(critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """Return E |grad D|^2 / 2 at real points, (batch, ...), which keeps a discriminator from ever steeper slopes.

    R1 of Mescheder et al., Which training methods for GANs do actually converge?, 2018, equation 9.
    """
    real = real.detach().float().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(critic(real).float().sum(), real, create_graph=True)
    return slope.flatten(1).square().sum(1).mean() / 2
