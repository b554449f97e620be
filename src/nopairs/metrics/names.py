"""Names of the measures. They stand apart so that tables and report, which read files only, need not import the measures."""

from __future__ import annotations

METRICS = ("psnr", "ssim", "lpips", "lpips_vgg", "swd", "pwd", "niqe", "fid", "kid", "is")

# What every method is measured by; the others only where a table asks for them.
USUAL = ("psnr", "ssim", "lpips", "swd", "niqe")

# Those that compare with the truth: a dataset without paired test images does without them.
NEED_TRUTH = ("psnr", "ssim", "lpips", "lpips_vgg")

# Not measured but counted: of the model that learned the degradation, or where a restorer does without one, of the restorer; in millions.
PARAMETERS = "parameters"

# How the note of a row begins that is no method's, but the clean images' own way through an autoencoder.
ROUND_TRIP = "the clean images, encoded and decoded"

# The problem of two point masses, among those whose optimal map is known.
POINTS = "points"
