"""Let torchvision be imported beside a torch build that its compiled extension does not fit.

A CPU-only torch with torchvision's default wheel fails at import with "operator torchvision::nms does not exist",
and lpips and spandrel with it. Nothing here calls those operators: declaring their schemas is enough.
"""

from __future__ import annotations

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_library: torch.library.Library | None = None


def make_torchvision_importable() -> None:
    """Import torchvision, declaring the operators that it looks for when its own extension did not load."""
    global _library
    if _library is not None:
        return
    try:
        import torchvision
    except RuntimeError:
        _library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS.values():
            _library.define(schema)
        import torchvision  # noqa: F401
