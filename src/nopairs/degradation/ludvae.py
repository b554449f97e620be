"""LUD-VAE: the degradation learned from unpaired images by variational Bayes (`ludvae.md`, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nopairs.data.gaussian import gaussian_blur, gaussian_taps
from nopairs.data.opponent import from_opponent, to_opponent
from nopairs.degradation.blocks import VectorQuantiser, decoder, encoder
from nopairs.degradation.covariance import BLOCK, LocalCovariance, to_blocks, without_means
from nopairs.errors import NopairsError
from nopairs.training import parallel
from nopairs.training.divergence import kl_to_standard_normal

H_KINDS = ("gaussian_blur", "additive_noise", "identity")
IMAGE_LATENTS = ("vq", "continuous")
LIKELIHOODS = ("mse", "gaussian")
POSTERIORS = ("free", "normalised")
NOISE_ENCODER_SEES = ("degraded", "residual")
LEARN_FROM = ("unpaired", "pairs")
# A normalised posterior starts narrow: from the prior's own width a short training never gets to hear the noise through z_n.
INITIAL_LOG_VARIANCE = -4.0
# log S starts at that of an error of 0.05 and is no smaller than that of 8-bit rounding and a little more, 1 / 255.
INITIAL_LOG_S, MIN_LOG_S = -6.0, -11.0
# The noise's amplitude starts at a deviation of about 10 of 255.
INITIAL_LOG_NOISE = -6.5
# Adam moves an output by little more than its learning rate a step; amplitudes must move by several units in a short training.
AMPLITUDE_GAIN = 5.0
# Likelihoods are of the order of the squared error over S; this brings their gradients near the squared error's own.
NLL_WEIGHT = 1e-3


@dataclass(frozen=True)
class LudVaeOptions:
    """Options of the model; the defaults are the paper's for SIDD, full size (10 M parameters).

    learn_from: unpaired (clean and degraded images), or pairs: the dataset's real ones, h(y) being h(x) (remark 2, with h: identity).
        It tells what having no pairs costs.
    h: what makes the two domains' image latents alike: gaussian_blur, additive_noise or identity (equation 10, remark 2).
    blur_size, blur_sigma: taps and sigma of the Gaussian blur.
    noise_clean, noise_degraded: sigma of the noise that `additive_noise` adds to clean and to degraded images, in [0, 1] units.
    noise_blur: sigma of the Gaussian that correlates that noise, pixels; 0 leaves it white. Noise hides only what has its spectrum:
        white noise leaves the low frequencies of camera noise in h(y), and so in z.
    image_latent: vq (the paper's) or continuous (no quantisation).
    width: channels of the encoders and decoders.
    blocks: residual blocks in each of them.
    stride: pixels a side that share a vector of the finer latent; the coarser one has twice that.
    codes, code_width: size of the two codebooks.
    noise_width: channels of the degradation latent, at each of its two levels.
    likelihood: of an image given its latents: mse (the paper; KL weighted by `kl_weight`); or gaussian, N(D(z), S(z)) with a
        covariance that the clean half learns, diagonal among local frequencies (`covariance.py`). It leaves to S what z does
        not tell of the *content*, so that z_n explains, and sampling reproduces, only what degraded images have beyond that; KL
        then has its own weight 1 after `kl_ramp`.
    excess_variance: whether p(y|z, z_n) has a covariance of its own beyond S(z), which is sampled with the noise: a spectrum times
        an amplitude that depends on z and scales D_n(z_n) too. Only with likelihood gaussian.
    posterior: of z_n: free (the paper); or normalised, each channel's aggregate over a batch having mean 0 and variance 1 by
        construction, as the prior has, where a short training would leave the decoder tuned to another scale.
    noise_encoder_sees: what z_n is inferred from: the degraded image (the paper) or its residual, degraded - D(z).
    kl_weight: final weight of the KL term (iteration / 5e8 is 4e-4 after the paper's 200k iterations).
    kl_ramp: share of the training over which that weight grows linearly from 0; 1 in the paper.
    commitment: weight of the commitment loss.
    shared_gradient: whether the degraded half also trains the image encoder and decoder (the paper) or only the degradation's.
    """

    learn_from: str = "unpaired"
    h: str = "gaussian_blur"
    blur_size: int = 21
    blur_sigma: float = 10.0
    noise_clean: float = 0.0
    noise_degraded: float = 0.0
    noise_blur: float = 0.0
    image_latent: str = "vq"
    width: int = 144
    blocks: int = 2
    stride: int = 4
    codes: int = 512
    code_width: int = 64
    noise_width: int = 64
    likelihood: str = "mse"
    excess_variance: bool = False
    posterior: str = "free"
    noise_encoder_sees: str = "degraded"
    kl_weight: float = 4e-4
    kl_ramp: float = 1.0
    commitment: float = 0.25
    shared_gradient: bool = True

    def __post_init__(self) -> None:
        choices = {
            "learn_from": LEARN_FROM,
            "h": H_KINDS,
            "image_latent": IMAGE_LATENTS,
            "noise_encoder_sees": NOISE_ENCODER_SEES,
            "posterior": POSTERIORS,
            "likelihood": LIKELIHOODS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise NopairsError(
                    f"ludvae: {name} {getattr(self, name)!r} is unknown; take one of {', '.join(known)}"
                )
        for name in ("blur_size", "width", "codes", "code_width", "noise_width"):
            if getattr(self, name) < 1:
                raise NopairsError(f"ludvae: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("blocks", "noise_clean", "noise_degraded", "noise_blur", "kl_weight", "commitment"):
            if getattr(self, name) < 0:
                raise NopairsError(f"ludvae: {name} is {getattr(self, name)}; it must not be negative")
        if self.stride not in (1, 2, 4, 8):
            raise NopairsError(f"ludvae: stride {self.stride} must be 1, 2, 4 or 8")
        if self.excess_variance and self.likelihood != "gaussian":
            raise NopairsError("ludvae: excess_variance needs likelihood: gaussian")
        if not 0 < self.kl_ramp <= 1:
            raise NopairsError(f"ludvae: kl_ramp {self.kl_ramp} must be within (0, 1]")
        if self.blur_size % 2 == 0 or self.blur_sigma <= 0:
            raise NopairsError(
                f"ludvae: blur_size {self.blur_size} must be odd and blur_sigma {self.blur_sigma} positive"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the dataset that training reads."""
        return ("pairs",) if self.learn_from == "pairs" else ("clean", "degraded")

    @property
    def multiple(self) -> int:
        """What sides of images are padded to a multiple of."""
        return max(BLOCK, 2 * self.stride)

    @property
    def least_crop(self) -> int:
        """Side in pixels of the smallest crop that h can blur: borders are reflected, and what is reflected must be there."""
        if self.h == "gaussian_blur":
            return self.blur_size // 2 + 1
        return filter_size(self.noise_blur) // 2 + 1 if self.h == "additive_noise" and self.noise_blur else 1


def correlate(noise: torch.Tensor, sigma: float) -> torch.Tensor:
    """Correlate white noise (batch, channels, H, W) by a Gaussian of `sigma` pixels, keeping its variance."""
    size = filter_size(sigma)
    return gaussian_blur(noise, size, sigma) / gaussian_taps(size, sigma).square().sum()


def filter_size(sigma: float) -> int:
    """Return the side in pixels of the filter that correlates noise by a Gaussian of `sigma` pixels."""
    return 2 * math.ceil(3 * sigma) + 1


class Hierarchy(nn.Module):
    """Two levels of features of an image, the finer one told of the coarser one's latent, as in VQ-VAE-2."""

    def __init__(self, options: LudVaeOptions, latent: int, parameters: int) -> None:
        """`latent` channels a level; `parameters` channels that describe them (equal, or twice as many for a Gaussian)."""
        super().__init__()
        width, blocks = options.width, options.blocks
        self.fine = encoder(3, width, blocks, options.stride.bit_length() - 1)
        self.coarse = encoder(width, width, blocks, 1)
        self.to_coarse = nn.Conv2d(width, parameters, 1)
        self.from_coarse = decoder(latent, width, width, blocks, 1)
        self.to_fine = nn.Conv2d(2 * width, parameters, 1)

    def features(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the finer features and the description of the coarser latent."""
        fine = self.fine(image)
        return fine, self.to_coarse(self.coarse(fine))

    def describe_fine(self, fine: torch.Tensor, coarse_latent: torch.Tensor) -> torch.Tensor:
        """Return the description of the finer latent, given the coarser one."""
        return self.to_fine(torch.cat([fine, self.from_coarse(coarse_latent)], 1))


class LudVae(nn.Module):
    """The network of figure 4: image latent z from h(image), degradation latent z_n from the degraded image.

    The degraded image is the image decoder's output plus the noise decoder's, which sees both latents.
    """

    Options = LudVaeOptions
    MODES = ("method3", "difference", "method2")
    learned = True

    def __init__(self, options: LudVaeOptions) -> None:
        super().__init__()
        self.options = options
        width, blocks = options.width, options.blocks
        doublings = options.stride.bit_length() - 1
        self.image_encoder = Hierarchy(options, options.code_width, options.code_width)
        self.noise_encoder = Hierarchy(options, options.noise_width, 2 * options.noise_width)
        self.quantise_coarse = VectorQuantiser(options.codes, options.code_width)
        self.quantise_fine = VectorQuantiser(options.codes, options.code_width)
        outputs = 3 if options.likelihood == "mse" else 6  # the mean, and the logarithm of the variance
        self.image_decoder = decoder(2 * options.code_width, width, outputs, blocks, doublings)
        # Beside the amplitude, noise that is told z would also mend what D(z) gets wrong of the degraded half's content.
        latents = 2 * (options.noise_width + (0 if options.excess_variance else options.code_width))
        self.noise_decoder = decoder(latents, width, 3, blocks, doublings)
        if options.likelihood == "gaussian":
            self.error = LocalCovariance()
        if options.excess_variance:
            self.amplitude_decoder = decoder(2 * options.code_width, width // 2, 3, blocks, doublings)
            self.excess = LocalCovariance(MIN_LOG_S, 0.0)
        self.multiple = options.multiple

    def h(
        self, images: torch.Tensor, degraded: bool, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Bring an image of either domain to what both have in common (equation 10)."""
        options = self.options
        if options.h == "gaussian_blur":
            return gaussian_blur(images, options.blur_size, options.blur_sigma)
        if options.h == "additive_noise":
            sigma = options.noise_degraded if degraded else options.noise_clean
            noise = parallel.randn(images.shape, generator).to(images)
            return images + sigma * (correlate(noise, options.noise_blur) if options.noise_blur else noise)
        return images

    def image_latent(self, h_image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Infer z from h(image): both levels at the finer resolution (batch, 2 code_width, H/stride, W/stride); commitment loss."""
        fine, coarse = self.image_encoder.features(h_image)
        coarse, loss_coarse = self._quantise(self.quantise_coarse, coarse)
        fine, loss_fine = self._quantise(self.quantise_fine, self.image_encoder.describe_fine(fine, coarse))
        return torch.cat([F.interpolate(coarse, scale_factor=2), fine], 1), loss_coarse + loss_fine

    def _quantise(self, quantiser: VectorQuantiser, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return quantiser(z) if self.options.image_latent == "vq" else (z, z.new_zeros(()))

    def decode_image(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return D(z), (batch, 3, H, W), and the log amplitude of S(z), of the same shape, or None with squared errors."""
        if self.options.likelihood == "mse":
            return self.image_decoder(z).float(), None
        mean, log_variance = self.image_decoder(z).float().chunk(2, 1)
        return mean, (AMPLITUDE_GAIN * log_variance + INITIAL_LOG_S).clamp(MIN_LOG_S, 0)

    def decode_noise(self, z: torch.Tensor, z_n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return D_n(z, z_n), (batch, 3, H, W), and the log amplitude of the excess variance, or None without one."""
        if not self.options.excess_variance:
            return self.noise_decoder(torch.cat([z, z_n], 1)).float(), None
        log_amplitude = self.log_amplitude(z)
        # What no z_n gives is no noise but an offset between the two halves' contents.
        noise = self.noise_decoder(z_n).float() - self.noise_decoder(torch.zeros_like(z_n[:1])).float()
        return from_opponent(torch.exp(0.5 * log_amplitude) * noise), log_amplitude

    def log_amplitude(self, z: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of the noise's local variance in opponent colours, (batch, 3, H, W), up to its spectrum.

        Content that the degraded images hardly have would get any amplitude: after training it stays within what is usual among them.
        """
        amplitude = (AMPLITUDE_GAIN * self.amplitude_decoder(z).float() + INITIAL_LOG_NOISE).clamp(
            MIN_LOG_S, 0
        )
        return amplitude if self.training else self.excess.bounded(amplitude)

    def noise_latent(self, degraded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Infer z_n from the degraded image by reparameterisation: both levels at the finer resolution; the summed KL."""
        fine, coarse = self.noise_encoder.features(degraded)
        coarse, kl_coarse = self._draw(coarse)
        fine, kl_fine = self._draw(self.noise_encoder.describe_fine(fine, coarse))
        return torch.cat([F.interpolate(coarse, scale_factor=2), fine], 1), kl_coarse + kl_fine

    def _draw(self, description: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw from the posterior that `description` holds; return the sample and its KL to N(0, I)."""
        mean, raw = description.float().chunk(2, 1)
        if self.options.posterior == "free":
            log_variance = raw.clamp(-14, 6)
        else:
            raw = raw + INITIAL_LOG_VARIANCE
            log_variance = F.logsigmoid(raw)
            mean = parallel.standardise(mean) * torch.exp(0.5 * F.logsigmoid(-raw))
        sample = mean + torch.exp(0.5 * log_variance) * parallel.randn_like(mean)
        return sample, kl_to_standard_normal(mean, log_variance)

    def prior_noise_latent(
        self, z: torch.Tensor, strength: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Draw z_n ~ N(0, t^2 I) for image latents z, one t an image."""
        batch, _, height, width = z.shape
        size = self.options.noise_width
        coarse = torch.randn(batch, size, height // 2, width // 2, generator=generator)
        fine = torch.randn(batch, size, height, width, generator=generator)
        z_n = torch.cat([F.interpolate(coarse, scale_factor=2), fine], 1).to(z.device)
        return strength.view(-1, 1, 1, 1) * z_n

    def make_pairs(
        self,
        clean: torch.Tensor,
        degraded: torch.Tensor,
        mode: str,
        strength: torch.Tensor,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Make pairs (section 3.3); sides of any size are reflect-padded to a multiple and cropped back.

        method3: (x, D(z, z_n)) with z inferred from the clean x and z_n drawn with standard deviation t (`strength`).
        difference: (x, x + D(z, z_n) - D(z)): as method 3 without the image decoder's own error (`docs/decisions.md`).
        method2: (D(z), y) with z inferred from the degraded y; nothing is drawn.
        """
        source = degraded if mode == "method2" else clean
        height, width = source.shape[2:]
        padded = F.pad(source, (0, -width % self.multiple, 0, -height % self.multiple), mode="reflect")
        z, _ = self.image_latent(self.h(padded, degraded=mode == "method2", generator=generator))
        if mode == "method2":
            return self.decode_image(z)[0][..., :height, :width], degraded
        z_n = self.prior_noise_latent(z, strength, generator)
        noise, log_excess = self.decode_noise(z, z_n)
        if log_excess is not None:
            # Means over blocks are the excess variance's: in z_n they are offsets between the two halves' contents.
            noise = without_means(noise) + strength.view(-1, 1, 1, 1) * self.excess.sample(
                log_excess, generator
            )
        image = padded if mode == "difference" else self.decode_image(z)[0]
        return clean, (image + noise)[..., :height, :width]

    def losses(
        self, progress: float, *, clean: torch.Tensor, degraded: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the negative objective of proposition 1 (equation 9) and its parts, for a batch from each domain.

        With `learn_from: pairs` the two batches are pairs, and z of the degraded half is inferred from its clean partner.
        """
        options = self.options
        paired = options.learn_from == "pairs"
        z, commitment_clean = self.image_latent(self.h(clean, degraded=False))
        image, clean_log_s = self.decode_image(z)
        clean_mse = F.mse_loss(image, clean)
        clean_error = (image - clean).detach()
        with torch.set_grad_enabled(options.shared_gradient and torch.is_grad_enabled()):
            seen = self.h(clean, degraded=False) if paired else self.h(degraded, degraded=True)
            z, commitment_degraded = self.image_latent(seen)
            image, log_s = self.decode_image(z)
        noisy = options.h == "additive_noise" and options.noise_degraded > 0
        if self.training and options.excess_variance and noisy and not paired:
            self.excess.probe((image - degraded).detach(), seen - degraded)
        residual = options.noise_encoder_sees == "residual"
        z_n, kl = self.noise_latent(degraded - image.detach() if residual else degraded)
        noise, log_excess = self.decode_noise(z, z_n)
        error = image + noise - degraded
        degraded_mse, kl = error.square().mean(), kl / degraded.numel()
        ramp = min(1.0, progress / options.kl_ramp)
        parts = {"clean_mse": clean_mse, "degraded_mse": degraded_mse, "kl": kl}
        parts["commitment"] = commitment_clean + commitment_degraded
        loss = clean_mse + options.commitment * parts["commitment"]
        if clean_log_s is None or log_s is None:
            return {"loss": loss + degraded_mse + options.kl_weight * ramp * kl, **parts}
        parts["clean_nll"], parts["degraded_nll"] = self._nlls(
            clean_error, clean_log_s, error, log_s.detach(), log_excess
        )
        return {"loss": loss + NLL_WEIGHT * (parts["clean_nll"] + parts["degraded_nll"] + ramp * kl), **parts}

    def _nlls(
        self,
        clean_error: torch.Tensor,
        clean_log_s: torch.Tensor,
        error: torch.Tensor,
        log_s: torch.Tensor,
        log_excess: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Negative log-likelihoods of both halves' errors; in training the spectra of S and of the excess follow them."""
        clean_power, power = (to_blocks(to_opponent(half)).square() for half in (clean_error, error))
        if self.training:
            self.error.update(clean_power, clean_log_s.detach())
        log_variance = self.error.log_variance(log_s)
        if log_excess is not None:
            if self.training:
                self.excess.update_range(log_excess)
                self.excess.update(power.detach() - log_variance.exp(), log_excess.detach())
            log_variance = torch.logaddexp(log_variance, self.excess.log_variance(log_excess))
        return gaussian_nll(clean_power, self.error.log_variance(clean_log_s)), gaussian_nll(
            power, log_variance
        )


def gaussian_nll(power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-likelihood of zero-mean Gaussian errors of squares `power`, without its constant."""
    return 0.5 * (power * torch.exp(-log_variance) + log_variance).mean()
