"""The runs of an experiment: settings, seeds of training and quantisers, and where results stand."""

from pathlib import Path

import pytest

from recbole_mgr.integration.registry import CLOSED_FORM
from recbole_mgr.run.experiments.definition import FOLDER, Experiment, Row, read_experiment
from recbole_mgr.run.experiments.plan import make_plan

ROWS = [Row("text", "TIGER", {}), Row("both", "MGRLF", {"epochs": 5}), Row("baseline", "SASRec", {})]


@pytest.fixture
def experiment(tmp_path, write_dataset, tiny_settings):
    """(**changes) -> experiment on a tiny data set."""
    write_dataset(tmp_path, without_vector=["i3"])
    settings = {**tiny_settings(tmp_path), "epochs": 7}

    def experiment(**changes) -> Experiment:
        defaults = Experiment("mine", "Mine", "tiny", settings, [1, 2], "once", "both", ROWS)
        return defaults._replace(**changes)

    return experiment


def test_all_rows_of_a_seed_come_before_the_next_seed(experiment):
    plan = make_plan(experiment(), {})
    assert [(run.row.label, run.seed) for run in plan.runs] == [
        (label, seed) for seed in (1, 2) for label in ("text", "both", "baseline")
    ]
    assert not any(run.done for run in plan.runs) and not plan.variance_runs
    assert [run.config["seed"] for run in plan.runs] == [1, 1, 1, 2, 2, 2]


def test_the_command_line_wins_over_rows_and_rows_over_the_file(experiment):
    assert [run.config["epochs"] for run in make_plan(experiment(), {}).runs[:3]] == [7, 5, 7]
    given = make_plan(experiment(), {"epochs": 2, "beam_size": 13})
    assert [run.config["epochs"] for run in given.runs[:3]] == [2, 2, 2]
    assert [run.config["beam_size"] for run in given.runs[:2]] == [13, 13]  # SASRec does not know it


@pytest.mark.parametrize(
    ("policy", "seeds", "of_variance"), [("once", {2020}, set()), ("per_seed", {1, 2}, set()), ("both", {2020}, {1, 2})]
)
def test_the_policy_decides_about_the_quantisers_seed(experiment, policy, seeds, of_variance):
    plan = make_plan(experiment(retrain_quantizer=policy), {})
    assert {run.config["semantic_id_seed"] for run in plan.runs if run.row.model != "SASRec"} == seeds
    assert {run.config["semantic_id_seed"] for run in plan.variance_runs} == of_variance
    assert len(plan.variance_runs) == (4 if of_variance else 0)  # not for SASRec, which has no semantic IDs
    assert len({run.run_dir for run in plan.all_runs}) == len(plan.all_runs)


def test_where_ids_are_user_supplied_no_quantiser_is_retrained(experiment, tmp_path):
    table = tmp_path / "tiny" / "user_supplied.tsv"
    rows = "".join(f"i{n}\t{n}\t{n}\n" for n in range(24))
    table.write_text("item_id:token\ttext_codes:token_seq\timage_codes:token_seq\n" + rows)
    given = {"semantic_ids": "{data_path}/tiny/user_supplied.tsv"}
    plan = make_plan(experiment(retrain_quantizer="both"), given)
    assert plan.runs[0].config["semantic_ids"] == str(table)
    assert not plan.variance_runs
    rows = "".join(f"i{n}\t{n}\n" for n in range(24))
    table.write_text("item_id:token\timage_codes:token_seq\n" + rows)
    plan = make_plan(experiment(retrain_quantizer="both", rows=ROWS[1:]), given)  # text and image: the text's are built
    assert [run.builds_semantic_ids for run in plan.runs] == [True, False] * 2
    with pytest.raises(ValueError, match=r"no codes for the modalities \['text'\]"):
        make_plan(experiment(rows=ROWS), given)


def test_tables_share_runs_whatever_they_call_them(experiment):
    one = make_plan(experiment(), {})
    other = make_plan(experiment(name="other", rows=[Row("another name", "TIGER", {})], reference="another name"), {})
    assert other.runs[0].run_dir == one.runs[0].run_dir
    assert other.folder_name != one.folder_name


def test_other_settings_give_another_table(experiment):
    one_run = experiment(rows=[Row("text", "TIGER", {})], reference="text", seeds=[1])
    usual, louder, shorter = (make_plan(one_run, given).folder_name for given in ({}, {"state": "INFO"}, {"epochs": 2}))
    assert usual == louder != shorter


def test_what_one_row_drops_all_drop(experiment):
    rows = [Row("dropping", "TIGER", {"missing_modality": "drop"}), Row("baseline", "BPR", {})]
    plan = make_plan(experiment(rows=rows, reference="baseline"), {})
    assert [run.config["drop_items_without"] for run in plan.runs] == [["text"]] * 4


def unimp(**settings):
    return Row("c", "UniMP", {"n_layers": 2, **settings})


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({}, {"epoch": 2}, "unknown setting 'epoch' for any row of mine; did you mean 'epochs'"),
        ({"settings": {"epohcs": 2}}, {}, "unknown setting 'epohcs'"),
        ({"rows": [Row("a", "TIGER", {"beam_size": 3})]}, {}, "mine, row 'a': beam_size: 3 must be at least"),
        (
            {"rows": [Row("a", "TIGER", {"modalities": ["collaborative"], "memory": True})]},
            {},
            "content_weight needs a modality of content",
        ),
        (
            {"rows": [Row("a", "MGRLF", {}), Row("b", "MGRLF", {"epochs": 5})]},
            {"epochs": 1},
            "'a' and 'b' have the same",
        ),
        ({}, {"seed": 3}, "--seed: an experiment has its seeds in its file"),
        ({"dataset": "other"}, {}, "other.inter does not exist"),
        ({"rows": [*ROWS, Row("c", "TIGER", {"modalities": ["smell"]})]}, {}, "row 'c': .*'smell' has no features"),
        ({"rows": [*ROWS, Row("c", "ItemMemory", {"modalities": ["smell"]})]}, {}, "'smell' has no features"),
        ({"rows": [*ROWS, Row("c", "UniMP", {"image_features": "smell"})]}, {}, "image_features: .* tiny.smell.npy"),
        ({"rows": [*ROWS, Row("c", "UniMP", {"language_model": "./gone"})]}, {}, "row 'c': language_model: .* ./gone"),
        ({"rows": [*ROWS, unimp(image_features=None)]}, {}, "row 'c': .*tiny.item does not exist"),
        ({"rows": [*ROWS, unimp(cross_attention_every=3)]}, {}, "cross_attention_every: 3 must be at most n_layers: 2"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(experiment, changes, given, message):
    with pytest.raises(ValueError, match=message):
        make_plan(experiment(**changes), given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_fields": {"title": 3, "colour": 2}}, "text_fields: .*tiny.item has no column 'colour'; choose from"),
        ({"tasks": "rec,preference"}, "task preference: the .inter file has no column rating:float"),
        ({"tasks": "rec,explanation"}, "task explanation: the data set has no .review file"),
    ],
)
def test_what_a_task_reads_is_there_before_anything_runs(experiment, tmp_path, settings, message):
    (item,) = (path.with_name("tiny.item") for path in tmp_path.rglob("tiny.inter"))
    item.write_text("item_id:token\ttitle:token_seq\ni0\tSoap\n")
    row = unimp(image_features=None, **{"text_fields": {"title": 3}} | settings)
    with pytest.raises(ValueError, match=f"row 'c': {message}"):
        make_plan(experiment(rows=[*ROWS, row]), {})


@pytest.mark.parametrize("row", [Row("c", "TIGER", {}), Row("c", "ItemMemory", {"modalities": ["text"]})])
def test_user_supplied_ids_that_lack_items_are_told_before_anything_runs(experiment, tmp_path, row):
    table = tmp_path / "own.tsv"
    rows = "".join(f"i{n}\t{n}\n" for n in range(24) if n not in (3, 5))
    table.write_text("item_id:token\ttext_codes:token_seq\n" + rows)
    row = row._replace(settings=row.settings | {"semantic_ids": str(table)})
    with pytest.raises(
        ValueError, match=r"row 'c': .*own.tsv: 2 of 24 items of the data set have no row, e.g. \['i\d'"
    ):
        make_plan(experiment(rows=[*ROWS, row]), {})
    # what another row drops, all drop: i3 has no vector
    table.write_text("item_id:token\ttext_codes:token_seq\ni5\t5\n" + rows)
    dropping = Row("dropping", "TIGER", {"missing_modality": "drop"})
    assert len(make_plan(experiment(rows=[*ROWS, dropping, row]), {}).runs) == 10


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_the_settings_of_those_that_come_along_are_sound(name, tmp_path, write_dataset):
    experiment = read_experiment(name)
    folder = write_dataset(tmp_path, experiment.dataset, modalities=("text", "image", "collaborative"))
    (folder / f"{experiment.dataset}.semantic_ids.tsv").write_text(
        "item_id:token\ttext_codes:token_seq\timage_codes:token_seq\n" + "".join(f"i{n}\t{n}\t{n}\n" for n in range(24))
    )
    if any(row.model == "UniMP" for row in experiment.rows):
        words = "title brand categories genres director".split()  # the columns alone are looked at
        header = "\t".join(f"{word}:token_seq" for word in words)
        folder.joinpath(f"{experiment.dataset}.item").write_text(f"item_id:token\t{header}\n")
        folder.joinpath(f"{experiment.dataset}.review").touch()
        inter = folder / f"{experiment.dataset}.inter"
        head, *rows = inter.read_text().splitlines()
        inter.write_text("\n".join([f"{head}\trating:float", *(f"{row}\t3" for row in rows)]))
    plan = make_plan(experiment._replace(seeds=experiment.seeds[:1]), {"data_path": str(tmp_path), "gpu_id": ""})
    drawn = [row for row in experiment.rows if row.model not in (*CLOSED_FORM, "Pop")]  # the others draw nothing
    assert not drawn or len(experiment.seeds) >= 3
    assert len(plan.runs) == len(experiment.rows)
    assert not any(Path(run.run_dir).exists() for run in plan.all_runs)
