"""Published restorers: any weight file whose architecture spandrel recognises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nopairs.errors import NopairsError
from nopairs.torch_compat import make_torchvision_importable

# Context around a tile, in pixels, for networks whose receptive field is not known.
MARGIN = 64


@dataclass(frozen=True)
class PretrainedOptions:
    """weights: path of the weight file (.pth, .safetensors ...)."""

    weights: str


class Pretrained(nn.Module):
    """A restorer read from a file; scale 1 and RGB only. The file is read with a restricted unpickler: no code in it runs."""

    Options = PretrainedOptions

    def __init__(self, options: PretrainedOptions) -> None:
        super().__init__()
        path = Path(options.weights)
        if not path.is_file():
            raise NopairsError(f"{path}: no such weight file; give a trained model's folder or a weight file")
        make_torchvision_importable()
        import spandrel

        try:
            loaded = spandrel.ModelLoader(device="cpu").load_from_file(path)
        except Exception as error:  # spandrel and torch raise many kinds for files that are not weights
            raise NopairsError(f"{path}: not a weight file of a known restorer ({error})") from None
        if not isinstance(loaded, spandrel.ImageModelDescriptor) or loaded.scale != 1:
            raise NopairsError(
                f"{path}: {loaded.architecture.name} does not map an image to one of its own size"
            )
        if (loaded.input_channels, loaded.output_channels) != (3, 3):
            raise NopairsError(f"{path}: takes {loaded.input_channels} channels; an RGB restorer is needed")
        self.model = loaded.model
        self.multiple = loaded.size_requirements.multiple_of
        self.margin = max(MARGIN, self.multiple)

    def forward(self, degraded: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, H, W) in [0, 1] to the restored image of the same shape."""
        return self.model(degraded)
