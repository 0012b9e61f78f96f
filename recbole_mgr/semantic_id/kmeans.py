"""k-means in plain matrix products, with its own random generator.

Source: Arthur & Vassilvitskii 2007 (k-means++), in its greedy form (several candidates per seed); Lloyd 1982.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recbole_mgr.semantic_id.vectors import chunk_slices

TOLERANCE = 1e-4  # stop once a round lowers the error by less than this share


def kmeans(points: Tensor, num_clusters: int, *, generator: torch.Generator, iterations: int, floor: float) -> Tensor:
    """Cluster centres; fewer than asked for where the points do not have that many distinct places.

    Args:
        points: float32 [n, dim], n >= 1.
        num_clusters: K >= 1.
        generator: CPU generator; the only source of chance.
        iterations: most Lloyd rounds, >= 1.
        floor: squared distance below which two points count as the same place (float rounding).

    Returns:
        float32 [k, dim], 1 <= k <= K; each centre is the nearest one to at least one point.
    """
    centers = spread_seeds(points, num_clusters, generator=generator, floor=floor)  # [k, dim]
    previous = math.inf
    for _ in range(iterations):
        codes, distances = nearest(points, centers)
        error = distances.sum(dtype=torch.float64).item()
        if previous - error <= TOLERANCE * previous < math.inf:
            break
        previous = error
        centers = move_centers(points, centers, codes, distances, floor=floor)
    codes, _ = nearest(points, centers)
    return centers[torch.bincount(codes, minlength=len(centers)) > 0]


def nearest(points: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centre [n] of each point and the squared distance to it [n], in chunks of points."""
    codes = torch.empty(len(points), dtype=torch.int64)
    distances = torch.empty(len(points), dtype=points.dtype)
    half_norms = centers.square().sum(1) / 2  # [k]
    for rows in chunk_slices(len(points), len(centers)):
        # half the squared distance, short of the point's own norm, which does not change the order
        scores = torch.addmm(half_norms, points[rows], centers.T, alpha=-1)  # [n, k]
        values, codes[rows] = scores.min(1)
        distances[rows] = (2 * values + points[rows].square().sum(1)).clamp_min(0)
    return codes, distances


def spread_seeds(points: Tensor, num_clusters: int, *, generator: torch.Generator, floor: float) -> Tensor:
    """Greedy k-means++ seeds [k, dim]; stops early once every point lies on a seed."""
    trials = 2 + int(math.log(num_clusters))
    norms = points.square().sum(1)  # [n]
    seeds = [int(torch.randint(len(points), (1,), generator=generator))]
    distances = (points - points[seeds[0]]).square().sum(1)  # [n]
    while len(seeds) < num_clusters and distances.max() > floor:
        cumulative = distances.cumsum(0, dtype=torch.float64)
        draws = torch.rand(trials, generator=generator, dtype=torch.float64) * cumulative[-1]
        candidates = torch.searchsorted(cumulative, draws).clamp_max(len(points) - 1)  # [trials]
        apart = norms[candidates, None] + norms - 2 * points[candidates] @ points.T  # [trials, n]
        apart = torch.minimum(apart.clamp_min(0), distances)
        best = apart.sum(1, dtype=torch.float64).argmin()
        seeds.append(int(candidates[best]))
        distances = apart[best]
    return points[seeds]


def move_centers(points: Tensor, centers: Tensor, codes: Tensor, distances: Tensor, *, floor: float) -> Tensor:
    """Each centre at the mean of its points; a centre without points at one of the worst served points."""
    counts = torch.bincount(codes, minlength=len(centers))  # [k]
    moved = torch.zeros_like(centers).index_add_(0, codes, points) / counts.clamp_min(1)[:, None]
    empty = (counts == 0).nonzero().flatten()
    farthest = distances.topk(min(len(empty), len(points)))
    useful = farthest.indices[farthest.values > floor]
    moved[empty[: len(useful)]] = points[useful]
    unused = empty[len(useful) :]
    moved[unused] = centers[unused]
    return moved
