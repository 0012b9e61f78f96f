"""Experiments as files: what is read, and what is refused by name."""

import pytest
import yaml

from recbole_mgr.run.experiments.definition import Row, read_experiment

CONTENT = {
    "title": "A table",
    "dataset": "tiny",
    "seeds": [1, 2],
    "settings": {"epochs": 3},
    "rows": [{"label": "one", "model": "TIGER"}, {"label": "two", "model": "MGRLF", "settings": {"beam_size": 20}}],
}


def write(folder, **changes) -> str:
    content = {key: value for key, value in {**CONTENT, **changes}.items() if value is not None}
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "mine.yaml")


def test_a_file_is_read_with_its_defaults(tmp_path):
    experiment = read_experiment(write(tmp_path))
    assert (experiment.name, experiment.title, experiment.dataset) == ("mine", "A table", "tiny")
    assert experiment.rows == [Row("one", "TIGER", {}), Row("two", "MGRLF", {"beam_size": 20})]
    assert (experiment.reference, experiment.retrain_quantizer, experiment.seeds) == ("two", "once", [1, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": None}, "mine.yaml: key 'title' is missing; the keys are title, dataset"),
        ({"row": []}, "unknown key 'row'; the keys are"),
        ({"seeds": 3}, "seeds: 3 must be a list of whole numbers"),
        ({"seeds": ["1"]}, r"seeds: \['1'\] must be a list"),
        ({"seeds": [1, 1]}, "seeds: 1 is given twice"),
        ({"rows": []}, "rows must be a list of at least one row"),
        ({"rows": ["TIGER"]}, "row 1: expected label, model and settings, found 'TIGER'"),
        ({"rows": [{"label": "a"}]}, "row 1: key 'model' is missing"),
        ({"rows": [{"label": "a | b", "model": "TIGER"}]}, "label 'a | b' must be one line without"),
        ({"rows": CONTENT["rows"][:1] * 2}, "rows: 'one' is given twice"),
        ({"rows": [{"label": "a", "model": "TIGER", "settings": ["epochs"]}]}, "row 1: settings must be 'key: value'"),
        ({"rows": [{"label": "a", "model": "TIGER", "settings": {"seed": 1}}]}, "seeds are given by the keys"),
        ({"retrain_quantizer": "never"}, "'never' must be once, per_seed or both"),
        ({"reference": "three"}, "'three' is the label of no row"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_experiment(write(tmp_path, **changes))


@pytest.mark.parametrize("name", ["nothing", "nothing.yaml"])
def test_a_name_that_is_none_is_told_the_others(name):
    with pytest.raises(ValueError, match=r"does not exist; give the path of a .yaml file, or one of: .*instruments"):
        read_experiment(name)
