"""A picture as G codes and back: a small VQ autoencoder, trained on the data set's own pictures.

Source: van den Oord et al., "Neural Discrete Representation Learning" (NeurIPS 2017), by diffusers' ``VQModel``.
UniMP (arXiv 2403.10667) takes a VQGAN of 1,024 codes that it does not ship. Deviations: no adversarial and no
perceptual loss, which need a network of their own; the codebook starts from k-means of a trained autoencoder's
latents, so that all its codes are in use.

A saved codec is a ``VQModel`` folder as diffusers writes it, so another trained one of that kind serves as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

from recbole_mgr.documents import read_json
from recbole_mgr.files import replacing, write_text

if TYPE_CHECKING:
    from diffusers import VQModel

SIDE_OF_A_CODE = 8  # pixels of a picture that one code stands for, in either direction
CONFIG_FILE, WEIGHTS_FILE = "config.json", "diffusion_pytorch_model.safetensors"  # diffusers' names

STEPS = 400  # of training
_WIDTHS, _LATENT_CHANNELS = (32, 64), 8
_BATCH, _LEARNING_RATE = 32, 2e-3
_RECONSTRUCTION = 4.0  # weight of the squared error beside the codes' losses
_SAMPLE = 600  # pictures that the codebook is fitted to
_ENCODE_BATCH = 256


class PictureCodec:
    """Turns pictures into codes and codes into pictures.

    Args:
        network: a trained ``VQModel``; 3 * s * s channels in and out mean that it reads squares of s x s pixels.

    Attributes:
        picture_size: side of the pictures in pixels.
        num_codes: P, codes are 0..P-1.
        num_tokens: G, codes of a picture: a square grid, row by row.
    """

    def __init__(self, network: VQModel) -> None:
        self._network = network.eval().requires_grad_(False)
        config = network.config
        self._fold = round((config.in_channels / 3) ** 0.5)
        self._grid = config.sample_size // 2 ** (len(config.block_out_channels) - 1)
        self.picture_size: int = config.sample_size * self._fold
        self.num_codes: int = config.num_vq_embeddings
        self.num_tokens: int = self._grid**2

    @classmethod
    def train(cls, pixels: np.ndarray, *, num_codes: int, seed: int, steps: int = STEPS) -> PictureCodec:
        """Train a codec for pictures of one size; the same pictures, codes and seed give the same codec.

        Args:
            pixels: uint8 [n, size, size, 3], n >= 1, size a multiple of 8.
            num_codes: P, >= 2.
            seed: >= 0.
            steps: of 32 pictures each, >= 8.

        Raises:
            ValueError: If there is no picture, or the size or the number of codes is out of range.
        """
        if not len(pixels):
            raise ValueError("no picture to train a picture codec on; encode pictures, or leave out image_generation")
        size = pixels.shape[1]
        if size < 2 * SIDE_OF_A_CODE or size % SIDE_OF_A_CODE:
            raise ValueError(
                f"picture_size: {size} must be a multiple of {SIDE_OF_A_CODE}, {2 * SIDE_OF_A_CODE} or more"
            )
        squares = len(pixels) * (size // SIDE_OF_A_CODE) ** 2
        if not 2 <= num_codes <= squares:
            raise ValueError(
                f"picture_code_count: {num_codes} must be 2 or more, and at most {squares}: {len(pixels)} pictures of "
                f"{squares // len(pixels)} codes each have no more to tell apart"
            )
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            return cls(_trained(_new_network(size, num_codes), torch.from_numpy(pixels), steps))

    @torch.no_grad()
    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Codes int64 [n, G] of pictures uint8 [n, size, size, 3]."""
        pieces = torch.from_numpy(pixels).split(_ENCODE_BATCH)
        return torch.cat([self._encode(piece) for piece in pieces]).numpy()

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Pictures uint8 [n, size, size, 3] of codes int64 [n, G]."""
        pieces = torch.from_numpy(codes).unflatten(1, (self._grid, self._grid)).split(_ENCODE_BATCH)
        return torch.cat([self._decode(piece) for piece in pieces]).numpy()

    def save(self, folder: Path) -> None:
        """Write the network's configuration and weights; the configuration comes last."""
        with replacing(folder / WEIGHTS_FILE) as path:
            path.write_bytes(save({name: value.contiguous() for name, value in self._network.state_dict().items()}))
        write_text(folder / CONFIG_FILE, self._network.to_json_string())

    @classmethod
    def load(cls, folder: Path) -> PictureCodec:
        """Read a folder of `save`, or of another ``VQModel`` with safetensors weights.

        Raises:
            ValueError: If there is none, it is damaged, or it is no codec of square colour pictures.
        """
        about = read_json(folder / CONFIG_FILE, remedy="name a folder with a diffusers VQModel")
        if not isinstance(about, dict) or about.get("_class_name") != "VQModel":
            raise ValueError(f"{folder / CONFIG_FILE}: not the configuration of a VQModel; name a folder with one")
        try:
            network = _vq_model().from_pretrained(folder, use_safetensors=True, local_files_only=True)
        except Exception as error:  # a parser may raise anything on damaged bytes
            raise ValueError(
                f"{folder}: the weights of this VQModel cannot be read ({error}); copy it again"
            ) from error
        return cls(network)

    def _encode(self, pixels: Tensor) -> Tensor:
        """int64 [b, G] of pictures uint8 [b, size, size, 3]."""
        latents = _latents(self._network, pixels).movedim(1, -1).flatten(1, 2)  # [b, G, channels]
        return torch.cdist(latents, self._network.quantize.embedding.weight).argmin(-1)

    def _decode(self, codes: Tensor) -> Tensor:
        """uint8 [b, size, size, 3] of codes [b, grid, grid]."""
        latents = self._network.quantize.embedding(codes).movedim(-1, 1)  # [b, channels, grid, grid]
        folded = self._network.decode(latents, force_not_quantize=True).sample
        colours = functional.pixel_shuffle(folded, self._fold).clamp(-1, 1)  # [b, 3, size, size]
        return ((colours + 1) * 127.5).round().to(torch.uint8).movedim(1, -1)


def _vq_model() -> type[VQModel]:
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    from diffusers import VQModel  # takes seconds to import

    return VQModel


def _new_network(size: int, num_codes: int) -> VQModel:
    """Reads squares of 4 x 4 pixels as channels: convolutions at full resolution would cost 16 times as much."""
    fold = SIDE_OF_A_CODE // 2 ** (len(_WIDTHS) - 1)
    network = _vq_model()(
        in_channels=3 * fold**2,
        out_channels=3 * fold**2,
        down_block_types=["DownEncoderBlock2D"] * len(_WIDTHS),
        up_block_types=["UpDecoderBlock2D"] * len(_WIDTHS),
        block_out_channels=_WIDTHS,
        latent_channels=_LATENT_CHANNELS,
        sample_size=size // fold,
        num_vq_embeddings=num_codes,
        norm_num_groups=8,
    )
    network.quantize.legacy = False  # beta on the commitment, as in the paper
    return network


def _trained(network: VQModel, pixels: Tensor, steps: int) -> VQModel:
    """Train as a plain autoencoder for an eighth of the steps, then with codes.

    The codebook is fitted to the latents of a sample of pictures when codes come in, and again now and then: one that
    learns by gradients alone leaves more than half of its codes unused.
    """
    plain, fit_every, last_fit = steps // 8, max(steps // 12, 1), steps * 7 // 10
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.05)
    sample = pixels[torch.randperm(len(pixels))[:_SAMPLE]]
    network.train()
    for step in range(steps):
        if step == plain or (plain < step <= last_fit and (step - plain) % fit_every == 0):
            _fit_codebook(network, sample, afresh=step == plain)
        wanted = _folded(network, pixels[torch.randint(len(pixels), (_BATCH,))])
        result = network.decode(network.encode(wanted).latents, force_not_quantize=step < plain)
        # the absolute error settles for wrong colours, which the squared one punishes
        loss = _RECONSTRUCTION * functional.mse_loss(result.sample, wanted)
        loss = loss + result.commit_loss.mean()  # 0 while not quantised
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network


@torch.no_grad()
def _fit_codebook(network: VQModel, pixels: Tensor, *, afresh: bool) -> None:
    """Move the codes to the centres of the latents by k-means, from where they are or ``afresh``.

    scikit-learn puts a code that is nearest to no latent where one is badly served.
    """
    codebook = network.quantize.embedding.weight  # [P, channels]
    latents = torch.cat(
        [_latents(network, piece).movedim(1, -1).flatten(0, 2) for piece in pixels.split(_ENCODE_BATCH)]
    )
    seed = int(torch.randint(2**31, ()))
    start = "k-means++" if afresh else codebook.numpy()
    kmeans = KMeans(len(codebook), init=start, n_init=1, max_iter=20, random_state=seed).fit(latents.numpy())
    codebook.copy_(torch.from_numpy(kmeans.cluster_centers_))


def _folded(network: VQModel, pixels: Tensor) -> Tensor:
    """The network's input [b, 3 * fold * fold, side, side], values -1..1, of pixels uint8 [b, size, size, 3]."""
    colours = pixels.movedim(-1, 1).float() / 127.5 - 1  # [b, 3, size, size]
    return functional.pixel_unshuffle(colours, pixels.shape[1] // network.config.sample_size)


def _latents(network: VQModel, pixels: Tensor) -> Tensor:
    """[b, channels, grid, grid] before quantisation."""
    return network.encode(_folded(network, pixels)).latents
