"""UniMP's settings: what is refused, how tasks may be written, and which files tell one run from another."""

import itertools

import pytest
from tiny_shop import TASKS, shop_settings

from recbole_mgr.integration.config import make_config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": "rec,dreams"}, "tasks: 'rec,dreams' must name"),
        ({"backbone": "t5"}, "backbone: 't5' must be prompt"),
        ({"image_attention": "all"}, "image_attention: 'all' must be one of own, all_previous, none"),
        ({"history_items": 0}, "history_items: 0 must be a whole number >= 1"),
        ({"history_items": 51}, "history_items: 51 must be at most MAX_ITEM_LIST_LENGTH: 50"),
        ({"task_sampling": "staged", "epochs": 1}, "epochs: 1 leave the last of 5 tasks without a stage"),
        ({"task_cases": 0}, "task_cases: 0 must be None or a whole number >= 1"),
        ({"focal_gamma": -1}, "focal_gamma: -1 must be a number >= 0"),
        ({"text_fields": {"title": 0}}, "text_fields: .* must be a dictionary of whole numbers >= 1"),
        ({"task_weights": {"rec": 2}}, "task_weights: .* must be weights > 0 by task name: recommendation"),
        ({"compile": True}, "compile: True means nothing to UniMP"),
        ({"lm_training": "frozen"}, "lm_training: frozen keeps the language model as it is"),
        ({"context_targets": "some"}, "context_targets: 'some' must be True or False"),
        (
            {
                "eval_args": {
                    "split": {"LS": "valid_and_test"},
                    "group_by": "user",
                    "order": "TO",
                    "mode": {"valid": "uni5", "test": "uni5"},
                }
            },
            "search ranks all items",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_are_refused_by_name(tmp_path, tiny_settings, changes, message):
    with pytest.raises(ValueError, match=message):
        make_config("UniMP", "tiny", [], {**shop_settings(tiny_settings, tmp_path), **changes})


def test_a_run_is_told_by_the_content_of_what_it_reads(tmp_path, tiny_settings):
    codec, lm, data = (tmp_path / name for name in ("codec", "lm", "data"))
    codec.mkdir(), lm.mkdir()
    settings = tiny_settings(data, picture_codec=str(codec), language_model=str(lm), tasks="image")
    config = make_config("UniMP", "tiny", [], settings)
    files = config.model_class.files_read(config.final_config_dict)
    folder = data / "tiny"
    items = {"tiny.item": folder / "tiny.item"}
    assert files == {**items, "picture_codec": codec, "language_model": lm, "images": folder / "images"}
    changes = {"tasks": "rec", "picture_codec": None, "language_model": "some/name-of-a-hub"}
    config = make_config("UniMP", "tiny", [], {**settings, **changes})
    assert config.model_class.files_read(config.final_config_dict) == items


def test_tasks_may_be_written_short_and_in_any_order(tmp_path, tiny_settings):
    for spelled in ("search,rec", "rec+search", ["search", "recommendation"]):
        config = make_config("UniMP", "tiny", [], shop_settings(tiny_settings, tmp_path, tasks=spelled))
        assert config["tasks"] == ["recommendation", "search"]
    everything = itertools.chain(TASKS, ["image_generation"])
    settings = {k: v for k, v in shop_settings(tiny_settings, tmp_path).items() if k != "tasks"}
    assert make_config("UniMP", "tiny", [], settings)["tasks"] == list(everything)
