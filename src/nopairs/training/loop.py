"""The one training loop: seeded, resumable bit for bit, atomic, validated, logged.

Everything random in a step is drawn from the pair (seed, step): the data position and the random state need no saving, and a run
that is killed and resumed sees the same batches and the same noise as one that was not.
"""

from __future__ import annotations

import copy
import math
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from nopairs.errors import NopairsError
from nopairs.files import atomic_file, write_csv
from nopairs.training import parallel
from nopairs.training.hardware import autocast
from nopairs.training.options import TrainingOptions
from nopairs.training.schedule import learning_rate

# Exit status of a run that was asked to stop and has saved its state (EX_TEMPFAIL of sysexits.h): start it again.
STOPPED = 75
Batch = dict[str, torch.Tensor]


class Learner(Protocol):
    """A network that knows what it minimises (besides being an nn.Module)."""

    def losses(self, progress: float, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return scalars, means over the batch; `loss` is minimised. Runs under autocast; `progress` goes from 0 to 1.

        What is computed over a batch, or drawn for it, goes through `nopairs.training.parallel`: `batch` may be a share of it.
        """


@runtime_checkable
class Game(Protocol):
    """A learner whose parts have losses of their own, of which one is optimised at a time; each has its optimiser."""

    @property
    def players(self) -> dict[str, nn.Module]:
        """The parts by name. What is in none of them is not trained."""

    def turn(self, step: int) -> str:
        """Return the player whose turn a step is: `losses` then gives its loss, and only its parameters move."""


class Data(Protocol):
    """Where batches come from, and how a network is validated."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw one batch, float32 on the CPU: the keyword arguments of the learner's `losses`."""

    def describe(self) -> str:
        """Name the files that the latest batch was cut from, for error messages."""

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return validation measures, the first one to be maximised; none without images for it. Called with `validate_every` only."""


@dataclass
class State:
    """Everything that a resumed run needs, apart from network and data."""

    fingerprint: str
    step: int = 0
    best: float = -math.inf
    best_step: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)
    network: dict[str, Any] = field(default_factory=dict)
    average: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    optimisers: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    # Losses of each player's last step.
    latest: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A finished training: the weights to keep, and what the model's description says of it."""

    weights: dict[str, torch.Tensor]
    steps: int
    best_step: int
    best: float | None
    seconds: float
    skipped: int = 0


class Trainer:
    """Trains a network in one folder, which then holds `log.csv` and `training_state.pt`.

    At the end the state shrinks to the weights that were chosen: the same training, started again, is done at once. A cluster's
    job that restores and measures after it may yet fail, and loses the model. The workflow deletes these states when all is done.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Data,
        options: TrainingOptions,
        folder: Path,
        *,
        seed: int,
        device: torch.device,
        fingerprint: str,
    ) -> None:
        """`network` is a `Learner`; `fingerprint` names configuration and data: a state that another one left is not resumed."""
        self.data, self.options, self.folder, self.seed, self.device = data, options, folder, seed, device
        folder.mkdir(parents=True, exist_ok=True)
        self.state_file = folder / "training_state.pt"
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval() if options.ema else self.network
        self.losses = torch.compile(self.network.losses) if options.compile else self.network.losses
        self.players = self.network.players if isinstance(self.network, Game) else {"": self.network}
        self.optimisers = {
            name: torch.optim.AdamW(
                player.parameters(),
                lr=options.lr,
                betas=options.betas,
                weight_decay=options.weight_decay,
                fused=True,
            )
            for name, player in self.players.items()
        }
        self.state = State(fingerprint)
        self.leads = parallel.rank() == 0
        self._stop = False

    def run(self) -> Result:
        """Train to the last step, resuming where a state was left; returns the weights to keep.

        Raises:
            NopairsError: the loss is not finite.
            SystemExit: with status STOPPED, after SIGTERM or SIGUSR1 and a saved state.
        """
        self._resume()
        previous = {name: signal.signal(name, self._ask_to_stop) for name in (signal.SIGTERM, signal.SIGUSR1)}
        started, saved = time.monotonic() - self.state.seconds, time.monotonic()
        try:
            with Progress(
                self.folder.name, self.options.steps, self.state.step, shown=self.leads
            ) as progress:
                while self.state.step < self.options.steps and not parallel.anyone(self._stop):
                    self._step()
                    self.state.seconds = time.monotonic() - started
                    if not self.leads:
                        continue
                    self._record(progress)
                    if time.monotonic() - saved > self.options.save_every:
                        self._save()
                        saved = time.monotonic()
            if self.state.step < self.options.steps:
                self._stop_here()
        finally:
            for name, handler in previous.items():
                signal.signal(name, handler)
        return self._finish()

    def _step(self) -> None:
        step, options = self.state.step, self.options
        batch = self.data.batch(np.random.default_rng([self.seed, step]))
        batch = {
            key: value.to(self.device, non_blocking=True) for key, value in parallel.share(batch).items()
        }
        torch.manual_seed(self.seed * 1_000_003 + step)
        self.network.train()
        name = self._whose_turn(step)
        player, optimiser = self.players[name], self.optimisers[name]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(options, step)
        with autocast(self.device, options.precision):
            losses = self.losses(step / options.steps, **batch)
        shown = parallel.mean(losses)
        self.state.latest[name] = {part: value.detach() for part, value in shown.items()}
        # On a GPU reading the loss would stall every step.
        read = self.device.type == "cpu" or options.skips or step % options.log_every == 0
        if not (read and self._skip(shown)):
            self._descend(losses["loss"], player, optimiser)
        self.state.step = step + 1

    def _descend(self, loss: torch.Tensor, player: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        step, options = self.state.step, self.options
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parallel.average_gradients(player.parameters())
        if options.clip or options.skips:
            norm = nn.utils.clip_grad_norm_(player.parameters(), options.clip or math.inf)
            # A finite loss may have a gradient that is not.
            if options.skips and self._skip({"norm of the gradient": norm}):
                return
        optimiser.step()
        if options.ema:
            update_average(self.average, self.network, min(options.ema, (1 + step) / (10 + step)))

    def _whose_turn(self, step: int) -> str:
        """Return the player that a step trains; the other players' parameters take no gradients meanwhile."""
        name = self.network.turn(step) if isinstance(self.network, Game) else ""
        if len(self.players) > 1:
            for other, player in self.players.items():
                player.requires_grad_(other == name)
        return name

    def _skip(self, found: dict[str, torch.Tensor]) -> bool:
        """Whether a step's batch is left out because what came of it is not finite; raises NopairsError when too many were."""
        finite = all(math.isfinite(float(value.detach())) for value in found.values())
        if not finite and self.state.skipped >= self.options.skips:
            self._refuse_non_finite(found)
        self.state.skipped += not finite
        return not finite

    def _refuse_non_finite(self, found: dict[str, torch.Tensor]) -> None:
        values = {name: float(value.detach()) for name, value in found.items()}
        before = f" after {self.state.skipped} skipped batches" if self.options.skips else ""
        self._refuse(
            f"the loss or its gradient is not finite at step {self.state.step}{before} ({values}); batch: {self.data.describe()}"
        )

    def _refuse(self, what: str) -> None:
        saved = (
            f"the last good state is in {self.state_file}"
            if self.state_file.exists()
            else "no state was saved yet"
        )
        raise NopairsError(
            f"{self.folder}: {what}; {saved}; lower `lr`, set `clip`, or train with `precision: float32`"
        )

    def _check_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Raise NopairsError for weights that are not finite: on a GPU the losses of most steps are not read."""
        for name, value in weights.items():
            if value.is_floating_point() and not value.isfinite().all():
                self._refuse(f"{name} is not finite after {self.state.step} steps")

    def _record(self, progress: Progress) -> None:
        step, options = self.state.step, self.options
        validate = options.validate_every and (step % options.validate_every == 0 or step == options.steps)
        if not (validate or step % options.log_every == 0 or step == options.steps):
            progress.show(step)
            return
        row = self._losses()
        if validate:
            measures = self.data.validate(self.average.eval())
            row |= {f"val_{name}": value for name, value in measures.items()}
            if measures:
                self._keep_best(next(iter(measures.values())))
        fixed = {
            "step": step,
            "loss": row.pop("loss", math.nan),
            "lr": learning_rate(options, step - 1),
            "seconds": self.state.seconds,
        }
        if options.skips:
            fixed["skipped"] = self.state.skipped
        self.state.log.append({**fixed, **row})
        progress.show(step, loss=fixed["loss"], **row)

    def _losses(self) -> dict[str, float]:
        """Return the losses of each player's last step, those of all but the first one under its name too."""
        first = next(iter(self.players))
        return {
            name if player == first else f"{player}_{name}": float(value)
            for player, losses in self.state.latest.items()
            for name, value in losses.items()
        }

    def _keep_best(self, value: float) -> None:
        if value > self.state.best:
            self.state.best, self.state.best_step = value, self.state.step
            self.state.chosen = {
                key: tensor.detach().cpu().clone() for key, tensor in self.average.state_dict().items()
            }

    def _ask_to_stop(self, *_: object) -> None:
        self._stop = True

    def _stop_here(self) -> None:
        if self.leads:
            self._save()
            steps = f"step {self.state.step} of {self.options.steps}"
            told = f"{self.folder}: stopped at {steps} as asked; start again to go on from there"
            tqdm.write(told, sys.stderr)
        parallel.wait()
        sys.exit(STOPPED)

    def _save(self) -> None:
        self._check_weights(self.network.state_dict())
        self.state.network, self.state.average = self.network.state_dict(), self.average.state_dict()
        self.state.optimisers = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
        self._write()

    def _write(self) -> None:
        with atomic_file(self.state_file) as temporary:
            torch.save(vars(self.state), temporary)
        write_csv(self.folder / "log.csv", self.state.log)

    def _resume(self) -> None:
        if not self.state_file.exists():
            return
        try:
            saved = torch.load(self.state_file, map_location=self.device, weights_only=True)
            fingerprint = saved["fingerprint"]
        except Exception:  # torch raises many kinds for what is not its own file
            raise NopairsError(
                f"{self.state_file}: a training state that cannot be read; delete it to train from the first step"
            ) from None
        if fingerprint != self.state.fingerprint:
            if self.leads:
                print(
                    f"{self.state_file}: of another configuration, data or code; training from the first step"
                )
            return
        self.state = State(**saved)
        if not self.state.network:  # finished
            return
        self.network.load_state_dict(self.state.network)
        self.average.load_state_dict(self.state.average)
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(self.state.optimisers[name])

    def _finish(self) -> Result:
        state = self.state
        state.chosen = state.chosen or {
            key: value.detach().cpu() for key, value in self.average.state_dict().items()
        }
        self._check_weights(state.chosen)
        state.network, state.average, state.optimisers = {}, {}, {}
        if self.leads:
            self._write()
        best = state.best if state.best_step else None
        return Result(
            state.chosen, state.step, state.best_step or state.step, best, state.seconds, state.skipped
        )


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move `average` towards `network`: average <- decay * average + (1 - decay) * network; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in network.parameters()], 1 - decay)
    for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)


class Progress:
    """A progress bar on a terminal; elsewhere one line a minute."""

    def __init__(self, name: str, total: int, start: int, shown: bool = True) -> None:
        terminal = sys.stderr.isatty()
        interval = 0.1 if terminal else 60.0
        self._bar = tqdm(
            total=total,
            initial=start,
            desc=name,
            mininterval=interval,
            maxinterval=interval,
            ascii=not terminal,
            dynamic_ncols=terminal,
            ncols=None if terminal else 100,
            file=_LineWriter() if not terminal else None,
            unit="step",
            disable=not shown,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, step: int, **values: float) -> None:
        """Advance to `step`, showing `loss` and validation measures when they are given."""
        shown = {
            key: f"{value:.4g}" for key, value in values.items() if key == "loss" or key.startswith("val_")
        }
        if shown:
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(step - self._bar.n)


class _LineWriter:
    """Turns the carriage returns of a progress bar into lines, for logs."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()
