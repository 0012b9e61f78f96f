import pytest
import torch

from recbole_mgr.semantic_id.kmeans import kmeans, lloyd, move_centers, nearest, principal_directions, spread_seeds


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def each_thread_count():
    """Call it with a function, and get what that returns with one thread and with two."""
    before = torch.get_num_threads()

    def results(function):
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(function())
        return found

    yield results
    torch.set_num_threads(before)


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


def test_principal_directions_are_those_of_the_singular_values():
    points = torch.randn(500, 60, generator=generator()) * torch.cat([torch.full((20,), 3.0), torch.ones(40)])
    found = principal_directions(points, generator=generator())
    assert torch.allclose(found.T @ found, torch.eye(32), atol=1e-5)
    kept = (points @ found).square().sum()
    best = torch.linalg.svdvals(points)[:32].square().sum()
    assert 0.99 * best < kept <= 1.0001 * best


def test_principal_directions_do_not_depend_on_the_number_of_threads(each_thread_count):
    points = torch.randn(12_000, 512, generator=generator()) * torch.linspace(2, 0.1, 512)
    one, two = each_thread_count(lambda: principal_directions(points, generator=generator()))
    assert (one == two).all()


def test_wide_points_do_not_gather_in_one_cluster():
    # a little structure in much noise, heavier in some points than in others
    points = 0.4 * torch.randn(1500, 500, generator=generator())
    points *= torch.exp(0.5 * torch.randn(1500, 1, generator=generator(3)))
    points[:, :8] += torch.randn(1500, 8, generator=generator(1))

    def largest_share(centers):
        return torch.bincount(nearest(points, centers)[0]).max().item() / len(points)

    seeds = spread_seeds(points, 128, generator=generator(), floor=1e-6)
    assert largest_share(lloyd(points, seeds, iterations=50, floor=1e-6)) > 0.2  # what this is about
    assert largest_share(kmeans(points, 128, generator=generator(), iterations=50, floor=1e-6)) < 0.06


def test_places_that_their_principal_directions_hide_get_centers():
    points = torch.eye(60).repeat(5, 1) * torch.linspace(2, 1, 60)  # 60 places, 32 directions
    found = kmeans(points - points.mean(0), 60, generator=generator(), iterations=30, floor=1e-6)
    assert len(found) == 60


@pytest.mark.parametrize("seeds", [1, 3])
def test_seeds_follow_those_given(seeds):
    points, _, centers = planted()
    spread = spread_seeds(points, 12, generator=generator(), floor=1e-6, seeds=centers[:seeds])
    assert (spread[:seeds] == centers[:seeds]).all()
    assert (torch.cdist(centers, spread).min(1).values < 1).all()  # the clusters that were still unserved


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
