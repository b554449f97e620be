"""Names of the measures. They stand apart so that tables and report, which read files only, need not import the measures."""

from __future__ import annotations

METRICS = ("psnr", "ssim", "lpips", "swd", "niqe")

# Those that compare with the truth: a dataset without paired test images does without them.
NEED_TRUTH = ("psnr", "ssim", "lpips")
