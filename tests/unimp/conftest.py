"""UniMP on the tiny shop. The plugin is imported before any test imports transformers' models, which may need its
repairs."""

import pytest
from tiny_shop import shop_settings, write_shop
from unimp_world import World

import recbole_mgr  # noqa: F401


@pytest.fixture(scope="session")
def make_world(tmp_path_factory, write_dataset, tiny_settings):
    """A `World` by the shop's settings with changes."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, write_dataset)
    settings = shop_settings(tiny_settings, folder)
    return lambda **changes: World(settings, **changes)


@pytest.fixture(scope="session")
def world(make_world):
    return make_world()
