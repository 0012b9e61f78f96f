"""The schema agrees with the property files, the code, RecBole and the pages that are made from it."""

import importlib.util
from pathlib import Path

import pytest
from recbole.evaluator.register import metric_types
from recbole.utils import dataset_arguments, evaluation_arguments, general_arguments, training_arguments

from recbole_mgr.integration.config import (
    PROPERTIES,
    default_settings,
    keys_of,
    keys_of_its_own,
    recbole_model_properties,
    recbole_models,
)
from recbole_mgr.integration.registry import MODELS, OURS, model_class
from recbole_mgr.semantic_id.quantizer import QUANTIZERS, quantizer_class
from recbole_mgr.settings import GROUPS, ignored_reason
from recbole_mgr.settings.model_keys import QUANTIZER_OPTIONS
from recbole_mgr.settings.recbole_keys import METRICS, KnowledgeGraph, Overall
from recbole_mgr.settings.schema import check_values

ROOT = Path(__file__).resolve().parents[2]


def written_files() -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("write_settings", ROOT / "docs" / "write_settings.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.written_files()


def test_comments_and_page_are_those_of_the_schema():
    """After a change of the schema: ``python docs/write_settings.py``."""
    files = written_files()
    assert {file.stem for file in files} >= {
        "settings",
        "overall",
        "GenerativeRecommender",
        "ClosedFormRecommender",
        *OURS,
    }
    for file, text in files.items():
        assert file.read_text(encoding="utf-8") == text, f"{file.name}: run python docs/write_settings.py"


def test_comments_are_complete_lines():
    for file in [PROPERTIES / "overall.yaml", *(PROPERTIES / "model").glob("*.yaml")]:
        for line in file.read_text(encoding="utf-8").splitlines():
            assert len(line) <= 140, f"{file.name}: {line}"


@pytest.mark.parametrize("model", OURS)
def test_the_defaults_of_our_models_fit(model):
    defaults = default_settings(model)
    keys = keys_of(model)
    assert check_values(defaults, keys) == {key: value for key, value in defaults.items() if key in keys}
    ours = GROUPS["overall"].all().keys() - Overall.all().keys()
    assert not ours - defaults.keys()
    without_default = {name for name in keys.keys() - defaults.keys() if name != "tail_ratio"}
    assert not without_default, "a key needs a default in its property file"


@pytest.mark.parametrize("model", recbole_models())
def test_the_defaults_of_recboles_models_fit(model):
    defaults = recbole_model_properties(model)
    keys = keys_of_its_own(model)
    assert check_values(defaults, keys) == defaults
    assert defaults.keys() <= keys.keys()


def test_a_groups_name_is_that_of_a_property_file():
    files = {file.stem for file in (PROPERTIES / "model").glob("*.yaml")} | {"overall"}
    assert set(GROUPS) <= files
    ancestors = {ancestor.__name__ for name in OURS for ancestor in model_class(name).__mro__}
    assert set(GROUPS) - {"overall"} <= ancestors


def test_every_key_has_a_meaning_that_a_comment_can_hold():
    for group in [*GROUPS.values(), KnowledgeGraph, *QUANTIZER_OPTIONS.values()]:
        for name, key in group.all().items():
            assert key.meaning, name
            assert not key.meaning.endswith("."), name
            assert "\n" not in key.meaning, name
            assert key.rule, name


def test_recboles_keys_are_known_or_refused_with_a_reason():
    for name in [*general_arguments, *training_arguments, *evaluation_arguments, *dataset_arguments]:
        assert name in Overall.all() or ignored_reason(name), name


def test_choices_are_those_of_the_code():
    import inspect

    assert {name.lower() for name in METRICS} == set(metric_types)
    assert set(QUANTIZER_OPTIONS) == set(QUANTIZERS)
    for name, group in QUANTIZER_OPTIONS.items():
        parameters = set(inspect.signature(quantizer_class(name)).parameters)
        assert set(group.all()) == parameters - {"levels", "codebook_size", "seed"}
    for model in MODELS:
        declared = keys_of(model)["backbone"].rule.removeprefix("one of ").split(", ")
        assert tuple(declared) == model_class(model).backbones
