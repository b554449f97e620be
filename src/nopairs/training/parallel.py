"""One training by several processes on one node, started by torchrun: each takes an equal share of every batch.

All processes draw the same whole batch and the same random numbers from (seed, step), work on their shares, and average their
gradients; what a network computes over a batch (normalisation, codebooks) it computes over the whole one, with the functions here.
So the effective batch and the optimisation stay those of one process, and results differ from its own by rounding only: sums are
taken in another order. That holds for losses that are means over the batch, and for every learner in nopairs. Over many steps
rounding grows as it does between any two machines, and a nearest code or a best validation step may then change.
With one process each function is the plain torch call: nothing differs, bit for bit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from nopairs.errors import NopairsError

# Longer than any validation, during which all processes but the first wait.
PATIENCE = timedelta(hours=2)


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started, or do nothing outside of it; of an expected error only the first process tells."""
    if not dist.is_torchelastic_launched():
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield
    except Exception as error:
        if rank() == 0:
            raise
        # What the configuration or data cause all processes meet; of what one meets alone nobody else could tell.
        if not isinstance(error, NopairsError):
            print(f"nopairs: error: process {rank()}: {type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    dist.destroy_process_group()


def size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number; process 0 validates, logs and writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def own(device: torch.device) -> torch.device:
    """Return this process's own GPU where `device` is one.

    Raises:
        NopairsError: there are more processes than GPUs.
    """
    if size() == 1 or device.type != "cuda":
        return device
    if size() > torch.cuda.device_count():
        raise NopairsError(
            f"{size()} processes, but torch sees {torch.cuda.device_count()} GPUs here; lower `processes` or ask for more GPUs"
        )
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda", torch.cuda.current_device())


def share(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return this process's part of a batch, tensors of (batch, ...).

    Raises:
        NopairsError: the parts would not be equal.
    """
    for name, value in batch.items():
        if len(value) % size():
            raise NopairsError(
                f"{len(value)} {name} crops a step cannot be shared by {size()} processes; make `batch` a multiple of them"
            )
    return {name: value.chunk(size())[rank()] for name, value in batch.items()}


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes."""
    if size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))


def mean(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the mean of each scalar over the processes, without gradients."""
    if size() == 1:
        return values
    stacked = total(torch.stack([value.detach().float() for value in values.values()])) / size()
    return dict(zip(values, stacked, strict=True))


def anyone(flag: bool) -> bool:
    """Whether `flag` is set in any process."""
    return flag if size() == 1 else bool(total(torch.tensor(int(flag))))


def wait() -> None:
    """Wait until every process is here."""
    anyone(False)


def total(part: torch.Tensor) -> torch.Tensor:
    """Return a tensor's sum over the processes, in place and without gradients."""
    if size() > 1:
        dist.all_reduce(part)
    return part


def randn(shape: Sequence[int], generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw standard normal numbers (batch, ...) on the CPU: this process's share of those of the whole batch."""
    return torch.randn((size() * shape[0], *shape[1:]), generator=generator).chunk(size())[rank()]


def rand(shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Draw numbers (batch, ...), uniform on [0, 1): this process's share of those of the whole batch."""
    return torch.rand((size() * shape[0], *shape[1:]), device=device).chunk(size())[rank()]


def randn_like(part: torch.Tensor) -> torch.Tensor:
    """Draw standard normal numbers like `part` (batch, ...): this process's share of those of the whole batch."""
    if size() == 1:
        return torch.randn_like(part)
    return torch.randn_like(torch.cat([part.detach()] * size())).chunk(size())[rank()]


def random_rows(part: torch.Tensor, count: int) -> torch.Tensor:
    """Draw `count` rows, with replacement, of all processes' `part` (rows, width); the same ones in each process."""
    rows = torch.randint(size() * len(part), (count,), device=part.device)
    if size() == 1:
        return part[rows]
    mine = rows // len(part) == rank()
    return total(torch.where(mine.unsqueeze(1), part[rows % len(part)], 0))


def standardise(part: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Standardise each channel of (batch, channels, H, W) over the whole batch."""
    if size() == 1:
        return F.batch_norm(part, None, None, training=True, eps=eps)
    centre, variance = moments(part)
    return (part - centre) * torch.rsqrt(variance + eps)


def moments(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each channel's mean and variance over the whole batch, both (1, channels, 1, 1), with gradients."""
    dims = (0, 2, 3)
    centre = _Sum.apply(part.mean(dims, keepdim=True)) / size()
    return centre, _Sum.apply((part - centre).square().mean(dims, keepdim=True)) / size()


class _Sum(torch.autograd.Function):
    """The sum over the processes. Each process's loss depends on it, so that gradients are summed as well, and theirs."""

    @staticmethod
    def forward(_: Any, part: torch.Tensor) -> torch.Tensor:
        return total(part.clone())

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Sum.apply(gradient)


class BatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d over the whole batch: nn.SyncBatchNorm, which needs GPUs, for any device."""

    def forward(self, part: torch.Tensor) -> torch.Tensor:
        """Normalise (batch, channels, H, W); follows the running statistics in training."""
        if size() == 1 or not self.training:
            return super().forward(part)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        values = part.float()
        centre, variance = moments(values)
        count = size() * values.numel() / values.shape[1]
        with torch.no_grad():
            self.running_mean.lerp_(centre.flatten(), self.momentum)
            self.running_var.lerp_(variance.flatten() * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        normal = (values - centre) * torch.rsqrt(variance + self.eps)
        return (normal * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(part.dtype)
