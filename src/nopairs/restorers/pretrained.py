"""Published restorers: any weight file whose architecture spandrel recognises."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import nn

from nopairs.data import weights
from nopairs.errors import NopairsError, one_line
from nopairs.files import read_json
from nopairs.restorers.wide import check_width, keep_wide, reach
from nopairs.torch_compat import make_torchvision_importable

# Context around a tile, in pixels, for networks whose receptive field is not known.
MARGIN = 64


@dataclass(frozen=True)
class PretrainedOptions:
    """Which weights, and what they are given.

    weights: path of the weight file (.pth, .safetensors ...), or `catalogue:<entry>/<path>`, which the workflow fetches.
    enlarged: whether images were made small and enlarged by repeating pixels, as by a recipe's `scale`: a network for
        super-resolution is then given every pixel once. Without, it restores at its own scale.
    keep_wide: width in pixels beyond which images stay as they were (`wide.keep_wide`); 0: the network decides it all.
    """

    weights: str
    enlarged: bool = False
    keep_wide: float = 0.0
    weight_files: ClassVar[tuple[str, ...]] = ("weights",)

    def __post_init__(self) -> None:
        weights.check(self.weights)
        check_width(self.keep_wide)
        if not weights.is_reference(self.weights) and not Path(self.weights).is_file():
            remedy = weights.remedy(self.weights, "give a trained model's folder or a weight file")
            raise NopairsError(f"{self.weights}: no such weight file; {remedy}")


class Pretrained(nn.Module):
    """A restorer read from a file, RGB only. Nothing but tensors is read from it: no code in it runs."""

    Options = PretrainedOptions
    copied = "weights"  # the option that names a file which a saved model has a copy of

    def __init__(self, options: PretrainedOptions) -> None:
        super().__init__()
        path = weights.local_file(options.weights)
        tensors = _read_weights(path)
        make_torchvision_importable()
        import spandrel

        try:
            loaded = spandrel.ModelLoader(device="cpu").load_from_state_dict(
                spandrel.canonicalize_state_dict(tensors)
            )
        except Exception as error:  # spandrel raises many kinds for weights that it does not know
            raise NopairsError(
                f"{path}: weights of no restorer that is known ({one_line(error) or type(error).__name__})"
            ) from None
        if not isinstance(loaded, spandrel.ImageModelDescriptor) or (options.enlarged and loaded.scale == 1):
            raise NopairsError(
                f"{path}: {loaded.architecture.name} does not map an image to one"
                + (" of more pixels, as `enlarged` says" if options.enlarged else "")
            )
        if (loaded.input_channels, loaded.output_channels) != (3, 3):
            raise NopairsError(f"{path}: takes {loaded.input_channels} channels; an RGB restorer is needed")
        check_width(options.keep_wide, int(loaded.scale))
        self.model, self.keep_wide = loaded.model, options.keep_wide
        self.stride = int(loaded.scale) if options.enlarged else 1
        self.scale = int(loaded.scale) // self.stride
        self.multiple = self.stride * loaded.size_requirements.multiple_of
        self.margin = max(self.stride * MARGIN, self.multiple) + reach(options.keep_wide)

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the restored image, of the same shape or `scale` times as large."""
        restored = self.model(degraded[:, :, :: self.stride, :: self.stride])
        return keep_wide(restored, degraded, self.keep_wide)


def _read_weights(path: Path) -> dict[str, Any]:
    """Read a state dict: safetensors, or torch's format with nothing in it but tensors and plain containers.

    Raises:
        NopairsError: the file is neither. A pickle of anything else is refused, not executed.
    """
    try:
        if path.suffix == ".safetensors":
            # In what was saved of this class the network is `model`.
            description = path.with_suffix(".json")
            saved = description.is_file() and read_json(description).get("kind") == "pretrained"
            prefix = "model." if saved else ""
            return {name.removeprefix(prefix): value for name, value in load_file(path).items()}
        with warnings.catch_warnings():  # about pickles, which are refused anyway
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # of many kinds, some of whose messages advise to trust the file
        raise NopairsError(
            f"{path}: not a weight file; it must be .safetensors, or a torch file that holds only tensors"
        ) from None
