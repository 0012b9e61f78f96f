"""RQ-VAE: an autoencoder whose latent is quantised level by level.

Source: Lee et al. 2022 (arXiv 2203.01941) for the residual quantiser; TIGER, Rajput et al. 2023 (arXiv
2305.05065), for its use on item vectors (MLP 512-256-128 to 32, beta 0.25).
Deviations: as in Lee et al. and unlike TIGER, codebooks follow moving averages instead of a loss of their
own; AdamW with a cosine schedule instead of Adagrad, and far fewer epochs; the codebooks start from k-means
over the latents of a sample, not of one batch; vectors are centred and scaled by one number; codes that no
vector of an epoch took restart at residuals of the last batch; the whole loss, of sums over values as there,
is divided by the number of input values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from recbole_mgr.data.arrays import finite
from recbole_mgr.data.vectors import Rows, Standardization, chunk_slices, sample_rows, to_float32
from recbole_mgr.semantic_id.kmeans import kmeans, nearest
from recbole_mgr.semantic_id.quantizer import require_positive, require_shape

INIT_VECTORS_PER_CODE = 40
INIT_ITERATIONS = 20
SMOOTHING = 1e-5


class Quantized(NamedTuple):
    """What the codebooks make of latents z [n, latent]."""

    codes: Tensor  # int64 [n, levels]
    latents: Tensor  # [n, latent], the sum of the levels' centres
    residuals: Tensor  # [levels, n, latent], what each level had to explain


class ResidualCodebooks:
    """Codebooks [levels, K, latent] that follow moving averages of the residuals given to each code."""

    def __init__(self, centers: Tensor, *, decay: float) -> None:
        self.centers = centers  # [levels, K, latent]
        self._decay = decay
        self._counts = torch.ones(centers.shape[:2])  # [levels, K]
        self._sums = centers.clone()  # [levels, K, latent]

    @classmethod
    def from_latents(
        cls, latents: Tensor, *, levels: int, codebook_size: int, decay: float, generator: torch.Generator
    ) -> ResidualCodebooks:
        """k-means per level over latents [n, latent]; codes beyond their distinct places repeat others."""
        residuals = latents.clone()
        floor = 1e-6 * residuals.var(0, correction=0).sum().item()
        centers = []
        for _ in range(levels):
            found = kmeans(residuals, codebook_size, generator=generator, iterations=INIT_ITERATIONS, floor=floor)
            residuals -= found[nearest(residuals, found)[0]]
            centers.append(found[torch.arange(codebook_size) % len(found)])  # [K, latent]
        return cls(torch.stack(centers), decay=decay)

    def quantize(self, latents: Tensor) -> Quantized:
        residual, codes, residuals = latents.detach(), [], []
        for centers in self.centers:
            residuals.append(residual)
            codes.append(nearest(residual, centers)[0])
            residual = residual - centers[codes[-1]]
        return Quantized(torch.stack(codes, 1), latents.detach() - residual, torch.stack(residuals))

    def follow(self, quantized: Quantized) -> None:
        """Move every centre towards the mean of the residuals that took it."""
        for level, (codes, residuals) in enumerate(zip(quantized.codes.T, quantized.residuals, strict=True)):
            taken = torch.bincount(codes, minlength=self._counts.shape[1])  # [K]
            sums = torch.zeros_like(self._sums[level]).index_add_(0, codes, residuals)  # [K, latent]
            self._counts[level].lerp_(taken.float(), 1 - self._decay)
            self._sums[level].lerp_(sums, 1 - self._decay)
            # a code that nothing took for long keeps its place: both averages fade alike
            self.centers[level] = self._sums[level] / self._counts[level].clamp_min(SMOOTHING)[:, None]

    def restart(self, dead: Tensor, residuals: Tensor, *, generator: torch.Generator) -> None:
        """Put dead codes, bool [levels, K], at random residuals [levels, n, latent] of their level."""
        level, code = dead.nonzero().T
        drawn = torch.randint(residuals.shape[1], (len(level),), generator=generator)
        self.centers[level, code] = self._sums[level, code] = residuals[level, drawn]
        self._counts[level, code] = 1.0


class RQVAE:
    """A `Quantizer` that learns an encoder, a decoder and ``levels`` codebooks of ``codebook_size`` together.

    Args:
        levels: codes per vector, >= 1.
        codebook_size: K, codes per level, >= 1.
        seed: of the quantiser's own generator.
        hidden_sizes: widths of the encoder's hidden layers; the decoder mirrors them.
        latent_size: width of what is quantised.
        beta: weight of the commitment loss.
        decay: of the codebooks' moving averages, 0..1.
        epochs: passes over the sample.
        batch_size: most vectors per step.
        learning_rate: the highest, at the start; it falls to zero along a cosine.
        sample_size: learned from that many vectors drawn at random where there are more.
    """

    def __init__(
        self,
        *,
        levels: int,
        codebook_size: int,
        seed: int,
        hidden_sizes: Sequence[int] = (512, 256, 128),
        latent_size: int = 32,
        beta: float = 0.25,
        decay: float = 0.99,
        epochs: int = 60,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        sample_size: int = 200_000,
    ) -> None:
        require_positive(
            levels=levels,
            codebook_size=codebook_size,
            hidden_sizes=min(hidden_sizes, default=1),
            latent_size=latent_size,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            sample_size=sample_size,
        )
        self.levels = levels
        self.codebook_size = codebook_size
        self._seed = seed
        self._hidden_sizes = tuple(hidden_sizes)
        self._latent_size = latent_size
        self._beta = beta
        self._decay = decay
        self._epochs = epochs
        self._batch_size = batch_size
        self._learning_rate = learning_rate
        self._sample_size = sample_size
        self._standardization: Standardization | None = None
        self._encoder: nn.Sequential
        self._decoder: nn.Sequential
        self._codebooks: ResidualCodebooks

    @torch.enable_grad()
    def fit(self, vectors: Rows) -> RQVAE:
        generator = torch.Generator().manual_seed(self._seed)
        sample = sample_rows(vectors, limit=self._sample_size, generator=generator)  # [n, dim]
        self._standardization = Standardization.of(sample)
        sample = self._standardization.apply_(sample)
        self._build_networks(sample.shape[1], generator)
        first = torch.randperm(len(sample), generator=generator)[: INIT_VECTORS_PER_CODE * self.codebook_size]
        with torch.no_grad():
            latents = self._encoder(sample[first])  # [n, latent]
        self._codebooks = ResidualCodebooks.from_latents(
            latents,
            levels=self.levels,
            codebook_size=self.codebook_size,
            decay=self._decay,
            generator=generator,
        )
        self._train(sample, generator)
        return self

    @torch.no_grad()
    def encode(self, vectors: Rows) -> np.ndarray:
        standardization = self._fitted()
        require_shape(vectors, width=len(standardization.mean), what="vectors")
        codes = np.empty((len(vectors), self.levels), dtype=np.int64)
        for rows in self._chunks(*vectors.shape):
            latents = self._encoder(standardization.apply_(to_float32(vectors[rows])))  # [n, latent]
            codes[rows] = self._codebooks.quantize(latents).codes.numpy()
        return codes

    @torch.no_grad()
    def reconstruct(self, codes: np.ndarray) -> np.ndarray:
        standardization = self._fitted()
        require_shape(codes, width=self.levels, what="codes")
        if len(codes) and not 0 <= codes.min() <= codes.max() < self.codebook_size:
            raise ValueError(f"codes must lie in 0..{self.codebook_size - 1}")
        dim = len(standardization.mean)
        vectors = np.empty((len(codes), dim), dtype=np.float32)
        levels = torch.arange(self.levels)
        for rows in self._chunks(len(codes), dim):
            picked = self._codebooks.centers[levels, torch.from_numpy(np.array(codes[rows]))]  # [n, levels, latent]
            vectors[rows] = standardization.invert(self._decoder(picked.sum(1))).numpy()
        return vectors

    def state(self) -> dict[str, np.ndarray]:
        mean, scale = self._fitted()
        tensors = {"mean": mean, "scale": scale, "centers": self._codebooks.centers}
        for part in ("encoder", "decoder"):
            network = getattr(self, f"_{part}").state_dict()
            tensors |= {f"{part}.{name}": tensor for name, tensor in network.items()}
        return {name: tensor.numpy().copy() for name, tensor in tensors.items()}

    def load(self, state: Mapping[str, np.ndarray]) -> RQVAE:
        standardization = Standardization.load(state)
        centers = finite(state, "centers", self.levels, self.codebook_size, self._latent_size)
        self._build_networks(len(standardization.mean), torch.Generator())
        for part, network in (("encoder", self._encoder), ("decoder", self._decoder)):
            shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
            weights = {name: to_float32(finite(state, f"{part}.{name}", *shape)) for name, shape in shapes.items()}
            network.load_state_dict(weights)
        self._codebooks = ResidualCodebooks(to_float32(centers), decay=self._decay)
        self._standardization = standardization
        return self

    def _train(self, sample: Tensor, generator: torch.Generator) -> None:
        parameters = [*self._encoder.parameters(), *self._decoder.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=self._learning_rate)
        batches = math.ceil(len(sample) / self._batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._epochs * batches)
        for _ in (progress := tqdm(range(self._epochs), desc="RQ-VAE", unit="epoch", leave=False, disable=None)):
            used = torch.zeros(self.levels, self.codebook_size, dtype=torch.bool)
            total = 0.0
            # even batches: a last one of few vectors would give restarts too few places
            for rows in torch.randperm(len(sample), generator=generator).tensor_split(batches):
                batch = sample[rows]  # [n, dim]
                latents = self._encoder(batch)  # [n, latent]
                quantized = self._codebooks.quantize(latents)
                straight_through = latents + (quantized.latents - latents).detach()
                reconstruction = F.mse_loss(self._decoder(straight_through), batch)
                commitment = self._commitment(latents, quantized) / batch.numel()
                (reconstruction + self._beta * commitment).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                self._codebooks.follow(quantized)
                used[torch.arange(self.levels), quantized.codes] = True
                total += reconstruction.item() * len(batch)
            self._codebooks.restart(~used, quantized.residuals, generator=generator)
            progress.set_postfix(error=f"{total / len(sample):.4f}", used=f"{used.float().mean():.0%}")

    def _commitment(self, latents: Tensor, quantized: Quantized) -> Tensor:
        """Squared distance of the latents to what the first 1, 2, ... levels make of them, summed."""
        remaining = torch.cat([quantized.residuals[1:], (latents.detach() - quantized.latents)[None]])
        partial = latents.detach() - remaining  # [levels, n, latent]
        return F.mse_loss(latents.expand_as(partial), partial, reduction="sum")

    def _build_networks(self, dim: int, generator: torch.Generator) -> None:
        sizes = [dim, *self._hidden_sizes, self._latent_size]
        self._encoder = _mlp(sizes, generator)
        self._decoder = _mlp(sizes[::-1], generator)

    def _chunks(self, num_rows: int, dim: int) -> Iterator[slice]:
        return chunk_slices(num_rows, max(dim, *self._hidden_sizes, self.levels * self._latent_size))

    def _fitted(self) -> Standardization:
        if self._standardization is None:
            raise RuntimeError("this RQVAE has not learned anything yet: call fit() or load() first")
        return self._standardization


def _mlp(sizes: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """Linear layers with ReLU between; skip_init because nn.Linear would draw from the global generator."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float32)
        bound = 1 / math.sqrt(inputs)  # nn.Linear's own
        with torch.no_grad():
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
