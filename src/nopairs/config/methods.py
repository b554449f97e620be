"""Methods: the chains that a table names, and what their degradations make pairs of."""

from __future__ import annotations

import dataclasses
from typing import Any

from nopairs import registry
from nopairs.errors import NopairsError
from nopairs.models import training_roles
from nopairs.transport.dot import HIGHEST_ALPHA, LOWEST_ALPHA

# What an `@` after a transport may say in place of a number: which alpha `val` is to choose.
CHOSEN_ALPHAS = ("psnr", "perception")


@dataclasses.dataclass(frozen=True)
class Method:
    """A chain: `degradation` + `restorer` + `transport`, of which degradation and transport are optional (None).

    alpha: of a transport: a number, or one of `CHOSEN_ALPHAS`.
    autoencoder: in place of a chain, the autoencoder that the clean test images pass through: the bound of its transports.
    prior: in place of a chain, the prior that reconstructs what a dataset's operator has observed.
    """

    name: str
    degradation: str | None
    restorer: str
    transport: str | None = None
    alpha: str = "0"
    autoencoder: str | None = None
    prior: str | None = None

    @property
    def base(self) -> str:
        """The method without its transport."""
        return "+".join(filter(None, (self.degradation, self.restorer)))

    def trained(self, restorers: dict[str, Any]) -> str:
        """The method whose training this one's restorer has its weights from: `base`, unless its entry names another `model`."""
        lender = restorers[self.restorer]["model"]
        return "+".join(filter(None, (self.degradation, lender)))

    def teacher(self, restorers: dict[str, Any]) -> Method | None:
        """The method whose restored photos this one's training takes for clean ones; None where a degradation makes its pairs."""
        teacher = restorers[restorers[self.restorer]["model"]].get("teacher")
        if teacher is None:
            return None
        name = "+".join(filter(None, (self.degradation, teacher)))
        return Method(name, self.degradation, teacher)

    def teachers(self, restorers: dict[str, Any]) -> list[Method]:
        """Its teacher, and that one's own, and so on."""
        teacher = self.teacher(restorers)
        return [teacher, *teacher.teachers(restorers)] if teacher else []

    @property
    def fitted(self) -> str:
        """The method without its alpha, which one fit serves all of."""
        return f"{self.base}+{self.transport}" if self.transport else self.base


def parse_method(config: dict[str, Any], name: str) -> Method:
    """Split a method's name into its chain.

    That is `<restorer>` or `<degradation>+<restorer>`, behind which `+<transport>` and `+<transport>@<alpha>` may stand; or an
    autoencoder's name, for the clean images that it encodes and decodes; or a prior's.

    Raises:
        NopairsError: a part that the configuration does not define, or no such alpha.
    """
    if name in config["autoencoders"]:
        return Method(name, None, "", autoencoder=name)
    if name in config["priors"]:
        return Method(name, None, "", prior=name)
    chain, at, alpha = name.partition("@")
    parts = chain.split("+")
    transport = parts.pop() if len(parts) > 1 and parts[-1] in config["transports"] else None
    *head, restorer = parts
    if len(head) > 1 or (at and transport is None):
        raise NopairsError(
            f"method {name!r}: a method is <restorer> or <degradation>+<restorer>; behind it may stand +<transport> or"
            " +<transport>@<alpha>"
        )
    for part, family in (*((part, "degradations") for part in head), (restorer, "restorers")):
        if part not in config[family]:
            raise NopairsError(
                f"method {name!r}: no {part!r} among the {family}; {registry.suggest(part, config[family])}"
            )
    if at:
        _check_alpha(name, alpha)
    return Method(name, head[0] if head else None, restorer, transport, alpha if at else "0")


def _check_alpha(name: str, alpha: str) -> None:
    try:
        possible = alpha in CHOSEN_ALPHAS or LOWEST_ALPHA <= float(alpha) <= HIGHEST_ALPHA
    except ValueError:
        possible = False
    if not possible:
        raise NopairsError(
            f"method {name!r}: alpha {alpha!r} must be a number from {LOWEST_ALPHA} to {HIGHEST_ALPHA}, or "
            f"{' or '.join(CHOSEN_ALPHAS)}, for the one that is best on val"
        )


def samples_from_clean(degradation: dict[str, Any]) -> bool:
    """Whether a degradation makes degraded images from clean ones (method 2 of LUD-VAE goes the other way)."""
    return degradation.get("sampling", {}).get("mode") != "method2"


def from_pairs(config: dict[str, Any]) -> set[str]:
    """Return the degradations that know real pairs of the dataset, as they are or by a model that learned from them."""
    degradations = config.get("degradations", {})
    models = {name: degradations[entry.get("model", name)] for name, entry in degradations.items()}
    return {
        name
        for name, model in models.items()
        if degradations[name]["kind"] == "real_pairs" or "pairs" in training_roles("degradation", model)
    }


def part_of(degradation: dict[str, Any]) -> str:
    """The folder of a dataset, below its own, that holds the tiles which a degradation's pairs are of."""
    if degradation["kind"] == "real_pairs":
        return "pairs/clean"
    return "clean" if samples_from_clean(degradation) else "degraded"


def statistics_of(config: dict[str, Any], method: Method) -> str | None:
    """The degradation whose pairs a transport's statistics come from; None takes the dataset's unpaired halves."""
    if method.transport is None:
        return None
    return config["transports"][method.transport].get("statistics", method.degradation)
