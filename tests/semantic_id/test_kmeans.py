import torch

from recbole_mgr.semantic_id.kmeans import kmeans, move_centers, nearest, spread_seeds


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def planted(clusters=12, per_cluster=40, dim=8, noise=0.05):
    centers = torch.randn(clusters, dim, generator=generator(1)) * 3
    labels = torch.arange(clusters).repeat_interleave(per_cluster)
    points = centers[labels] + noise * torch.randn(len(labels), dim, generator=generator(2))
    return points, labels, centers


def test_nearest_agrees_with_brute_force():
    points, centers = torch.randn(70, 5, generator=generator()), torch.randn(9, 5, generator=generator(1))
    codes, distances = nearest(points, centers)
    apart = torch.cdist(points, centers).square()
    assert (codes == apart.argmin(1)).all()
    assert torch.allclose(distances, apart.min(1).values, atol=1e-4)


def test_recovers_planted_clusters():
    points, labels, centers = planted()
    found = kmeans(points, 12, generator=generator(), iterations=50, floor=1e-6)
    codes, _ = nearest(points, found)
    for label in range(12):
        assert len(codes[labels == label].unique()) == 1
    assert len(codes.unique()) == 12
    assert torch.cdist(centers, found).min(1).values.max() < 0.1


def test_seeds_are_distinct_points():
    points, _, _ = planted()
    seeds = spread_seeds(points, 12, generator=generator(), floor=1e-6)
    assert (seeds[:, None] == points).all(2).any(1).all()
    assert torch.cdist(seeds, seeds).fill_diagonal_(9).min() > 1  # one per planted cluster


def test_fewer_places_than_clusters_gives_one_center_each():
    points = torch.tensor([[0.0, 1], [5, 2], [-3, 4]]).repeat(10, 1)
    found = kmeans(points, 8, generator=generator(), iterations=10, floor=1e-6)
    assert torch.allclose(found.sort(0).values, points[:3].sort(0).values)
    assert nearest(points, found)[1].max() < 1e-4


def test_empty_cluster_moves_to_the_worst_served_point():
    points = torch.tensor([[0.0], [0.2], [1.0], [10.0]])
    centers = torch.tensor([[0.0], [1000.0]])
    codes, distances = nearest(points, centers)
    moved = move_centers(points, centers, codes, distances, floor=1e-6)
    assert torch.allclose(moved, torch.tensor([[points.mean()], [10.0]]))


def test_empty_cluster_stays_where_nothing_is_left_to_serve():
    points = torch.zeros(4, 1)
    centers = torch.tensor([[0.0], [1000.0]])
    moved = move_centers(points, centers, *nearest(points, centers), floor=1e-6)
    assert moved.flatten().tolist() == [0, 1000]
