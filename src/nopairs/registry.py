"""Every method by name. A new method is a module, a line here, and an entry in the config."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any

from nopairs.errors import NopairsError

DEGRADATIONS = {
    "awgn": "nopairs.degradation.awgn:Awgn",
    "ludvae": "nopairs.degradation.ludvae:LudVae",
    "bicubic": "nopairs.degradation.bicubic:Bicubic",
    "dasr": "nopairs.degradation.dasr:Dasr",
    "deflow": "nopairs.degradation.deflow:Deflow",
    "dsgan": "nopairs.degradation.dsgan:Dsgan",
    "noise_patches": "nopairs.degradation.noise_patches:NoisePatches",
    "real_pairs": "nopairs.degradation.real_pairs:RealPairs",
    "recipe": "nopairs.degradation.recipe:Recipe",
}
RESTORERS = {
    "identity": "nopairs.restorers.identity:Identity",
    "nlm": "nopairs.restorers.classical:NLM",
    "bm3d": "nopairs.restorers.classical:BM3D",
    "mcwnnm": "nopairs.restorers.mcwnnm:MCWNNM",
    "dncnn": "nopairs.restorers.dncnn:DnCNN",
    "pyramid": "nopairs.restorers.pyramid:Pyramid",
    "blended": "nopairs.restorers.blended:Blended",
    "stacked": "nopairs.restorers.stacked:Stacked",
    "noise2self": "nopairs.restorers.noise2self:Noise2Self",
    "resflow": "nopairs.restorers.resflow:ResFlow",
    "rrdb": "nopairs.restorers.rrdb:Rrdb",
    "edsr": "nopairs.restorers.edsr:Edsr",
    "esrgan": "nopairs.restorers.esrgan:Esrgan",
    "cincgan": "nopairs.restorers.cincgan:Cincgan",
    "ots": "nopairs.restorers.ots:Ots",
    "pretrained": "nopairs.restorers.pretrained:Pretrained",
    "folder": "nopairs.restorers.folder:Folder",
}
PRIORS = {
    "interpolation": "nopairs.priors.tv:Interpolation",
    "tv": "nopairs.priors.tv:TV",
    "epll": "nopairs.priors.epll:EPLL",
    "patchnr": "nopairs.priors.patchnr:PatchNR",
    "patchnr_anchored": "nopairs.priors.anchored:AnchoredPatchNR",
    "patchnr_zeroshot": "nopairs.priors.zeroshot:ZeroShotPatchNR",
    "wpp": "nopairs.priors.wpp:WPP",
    "wppnet": "nopairs.priors.wppnet:WPPNet",
    "wppflow": "nopairs.priors.wppflow:WPPFlow",
    "dip": "nopairs.priors.dip:DIP",
    "pnp": "nopairs.priors.pnp:PlugAndPlay",
    "local_ar": "nopairs.priors.local_ar:LocalAR",
    "zssr": "nopairs.priors.zeroshot:ZSSR",
    "dualsr": "nopairs.priors.dualsr:DualSR",
    "supervised": "nopairs.priors.supervised:Supervised",
}
OPERATORS = {
    "identity": "nopairs.priors.operators:Identity",
    "blur": "nopairs.priors.operators:Blur",
    "blur_downsample": "nopairs.priors.operators:BlurDownsample",
    "radon": "nopairs.priors.radon:Radon",
    "kernel": "nopairs.priors.estimated:Kernel",
}
AUTOENCODERS = {
    "kl": "nopairs.transport.autoencoders:AutoencoderKL",
    "tiny": "nopairs.transport.autoencoders:AutoencoderTiny",
    "taef2": "nopairs.transport.autoencoders:Taef2",
    "embedded": "nopairs.transport.autoencoders:Embedded",
}
TRANSPORTS = {
    "dot": "nopairs.transport.dot:Dot",
}


def find(registry: dict[str, str], kind: str) -> Any:
    """Import and return the class that `registry` has under `kind`; raises NopairsError for an unknown one."""
    if kind not in registry:
        raise NopairsError(f"unknown kind {kind!r}; {suggest(kind, registry)}")
    module, name = registry[kind].split(":")
    return getattr(importlib.import_module(module), name)


def module_of(registry: dict[str, str], kind: str) -> str:
    """Return the dotted name of the module that implements `kind`."""
    return registry[kind].split(":")[0]


def suggest(word: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" for the nearest known word, or the list of all."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
