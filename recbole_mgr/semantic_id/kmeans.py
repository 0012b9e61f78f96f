"""k-means in plain matrix products, with its own random generator.

Source: Arthur & Vassilvitskii 2007 (k-means++), in its greedy form (several candidates per seed); Lloyd 1982;
Halko, Martinsson & Tropp 2011 (randomised subspace iteration).
Deviations: wide points are clustered along their principal directions first, and from there in full. In hundreds
of dimensions all points are about equally far apart, so seeds are outliers that keep nobody but themselves: one
cluster then holds nearly all points. Seeds are drawn from a sample of the points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recbole_mgr.data.vectors import chunk_slices

TOLERANCE = 1e-4  # stop once a round lowers the error by less than this share
PRINCIPAL_DIRECTIONS = 32  # on 384 to 1280 dimensions 16 gave higher errors, 64 less even clusters
POWER_ROUNDS = 4
SEEDING_POINTS = 64  # per cluster


def kmeans(points: Tensor, num_clusters: int, *, generator: torch.Generator, iterations: int, floor: float) -> Tensor:
    """Cluster centres; fewer than asked for where the points do not have that many distinct places.

    Args:
        points: float32 [n, dim], n >= 1.
        num_clusters: K >= 1.
        generator: CPU generator; the only source of chance.
        iterations: most Lloyd rounds, >= 1, along the principal directions and again in full.
        floor: squared distance below which two points count as the same place (float rounding).

    Returns:
        float32 [k, dim], 1 <= k <= K; each centre is the nearest one to at least one point.
    """
    wide = points.shape[1] > PRINCIPAL_DIRECTIONS
    seeding = torch.randperm(len(points), generator=generator)[: SEEDING_POINTS * num_clusters]
    shadows = points
    if wide:
        shadows = points @ principal_directions(points[seeding], generator=generator)  # [n, directions]
    centers = spread_seeds(shadows[seeding], num_clusters, generator=generator, floor=floor)
    if wide:
        codes, _ = nearest(shadows, lloyd(shadows, centers, iterations=iterations, floor=floor))
        means, counts = cluster_means(points, codes, num_clusters)
        centers = means[counts > 0]  # [k, dim]
    # places that neither the sample nor the shadows could tell apart
    centers = spread_seeds(points, num_clusters, generator=generator, floor=floor, seeds=centers)
    centers = lloyd(points, centers, iterations=iterations, floor=floor)
    codes, _ = nearest(points, centers)
    return centers[torch.bincount(codes, minlength=len(centers)) > 0]


def principal_directions(points: Tensor, *, generator: torch.Generator) -> Tensor:
    """Orthonormal columns [dim, PRINCIPAL_DIRECTIONS] close to the span of the largest variance of centred points."""
    # in double precision, so that the number of threads does not show once it is rounded
    directions = torch.randn(points.shape[1], PRINCIPAL_DIRECTIONS, generator=generator, dtype=torch.float64)
    for _ in range(POWER_ROUNDS):
        chunks = (points[rows].double() for rows in chunk_slices(*points.shape))
        directions = torch.linalg.qr(sum(chunk.T @ (chunk @ directions) for chunk in chunks)).Q
    return directions.float()


def lloyd(points: Tensor, centers: Tensor, *, iterations: int, floor: float) -> Tensor:
    """Centres [k, dim] moved to the means of their points, round by round until the error settles."""
    previous = math.inf
    for _ in range(iterations):
        codes, distances = nearest(points, centers)
        error = distances.sum(dtype=torch.float64).item()
        if previous - error <= TOLERANCE * previous < math.inf:
            break
        previous = error
        centers = move_centers(points, centers, codes, distances, floor=floor)
    return centers


def nearest(points: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centre [n] of each point and the squared distance to it [n], in chunks of points."""
    codes = torch.empty(len(points), dtype=torch.int64)
    distances = torch.empty(len(points), dtype=points.dtype)
    half_norms = centers.square().sum(1) / 2  # [k]
    for rows in chunk_slices(len(points), max(centers.shape)):
        # half the squared distance, short of the point's own norm, which does not change the order
        scores = torch.addmm(half_norms, points[rows], centers.T, alpha=-1)  # [n, k]
        values, codes[rows] = scores.min(1)
        distances[rows] = (2 * values + squared_norms(points[rows])).clamp_min(0)
    return codes, distances


def squared_norms(points: Tensor) -> Tensor:
    """[n] of points [n, dim]; vector_norm needs no copy of them, unlike their squares."""
    return torch.linalg.vector_norm(points, dim=1).square()


def spread_seeds(
    points: Tensor, num_clusters: int, *, generator: torch.Generator, floor: float, seeds: Tensor | None = None
) -> Tensor:
    """Greedy k-means++ seeds [k, dim] after those given; stops early once every point lies on a seed."""
    if seeds is None:
        seeds = points[torch.randint(len(points), (1,), generator=generator)]
    if len(seeds) >= num_clusters:
        return seeds
    trials = 2 + int(math.log(num_clusters))
    norms = squared_norms(points)  # [n]
    _, distances = nearest(points, seeds)
    chosen: list[int] = []
    while len(seeds) + len(chosen) < num_clusters and distances.max() > floor:
        cumulative = distances.cumsum(0, dtype=torch.float64)
        draws = torch.rand(trials, generator=generator, dtype=torch.float64) * cumulative[-1]
        candidates = torch.searchsorted(cumulative, draws).clamp_max(len(points) - 1)  # [trials]
        apart = norms[candidates, None] + norms - 2 * points[candidates] @ points.T  # [trials, n]
        apart = torch.minimum(apart.clamp_min(0), distances)
        best = apart.sum(1, dtype=torch.float64).argmin()
        chosen.append(int(candidates[best]))
        distances = apart[best]
    return torch.cat([seeds, points[chosen]])


def cluster_means(points: Tensor, codes: Tensor, num_clusters: int) -> tuple[Tensor, Tensor]:
    """Mean [k, dim] and number [k] of the points of each cluster; a mean of zeros where there are none."""
    counts = torch.bincount(codes, minlength=num_clusters)
    sums = torch.zeros(num_clusters, points.shape[1]).index_add_(0, codes, points)
    return sums / counts.clamp_min(1)[:, None], counts


def move_centers(points: Tensor, centers: Tensor, codes: Tensor, distances: Tensor, *, floor: float) -> Tensor:
    """Each centre at the mean of its points; a centre without points at one of the worst served points."""
    moved, counts = cluster_means(points, codes, len(centers))
    empty = (counts == 0).nonzero().flatten()
    farthest = distances.topk(min(len(empty), len(points)))
    useful = farthest.indices[farthest.values > floor]
    moved[empty[: len(useful)]] = points[useful]
    unused = empty[len(useful) :]
    moved[unused] = centers[unused]
    return moved
