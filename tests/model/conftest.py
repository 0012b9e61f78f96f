import pytest
from prior_world import NUM_ITEMS, World


@pytest.fixture(scope="module")
def make_prior_world(tmp_path_factory, write_dataset, tiny_settings):
    folder = tmp_path_factory.mktemp("priors")
    write_dataset(folder, num_items=NUM_ITEMS)
    settings = tiny_settings(folder, beam_size=10, n_layers=1, t5_head_size=8)
    return lambda name="MGRLFpp", **changes: World(settings, name, **changes)
