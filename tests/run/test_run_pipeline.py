"""Comparisons: several models, ours and RecBole's, in one table; read back, resumed, and never mixed up."""

from pathlib import Path

import numpy as np
import pytest

from recbole_mgr.integration.config import settings_read
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.run.identity import slug
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.run.table_page import markdown

MODELS = ("TIGER", "MGRLFpp", "SASRec", "BPR", "Pop", "ItemKNN", "LightGCN")


@pytest.fixture
def make_settings(tmp_path, write_dataset, tiny_settings, monkeypatch):
    """Settings of a fresh data set in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def make_settings(*, dataset=None, **changes) -> dict:
        write_dataset(tmp_path, **(dataset or {}))
        return tiny_settings(tmp_path, n_layers=1, num_threads=1, checkpoint_dir="saved", **changes)

    return make_settings


def request(name: str, **own) -> ModelRequest:
    return ModelRequest(name, own)


def for_any_model(settings: dict) -> dict:
    """Those of the settings that RecBole's models know too."""
    keys = ("data_path", "checkpoint_dir", "epochs", "train_batch_size", "topk", "gpu_id", "show_progress", "state")
    return {key: settings[key] for key in (*keys, "floors")}


def files_of(folder: str) -> dict[Path, int]:
    """When each file was last written."""
    return {file: file.stat().st_mtime_ns for file in Path(folder).rglob("*") if file.is_file()}


def test_our_models_and_recboles_share_one_table(make_settings):
    settings = make_settings()
    requests = [request(name) for name in MODELS]
    comparison = run_comparison(requests, "tiny", settings=settings)
    assert [result.label for result in comparison.results] == list(MODELS)
    first = comparison.results[0]
    targets = dict(zip(first.users, first.targets, strict=True))
    assert len(targets) == 30
    for result in comparison.results:
        assert dict(zip(result.users, result.targets, strict=True)) == targets
        assert result.num_items == 24
        assert list(result.test) == list(result.test_masked) == list(first.test)
        for ranks, metrics in ((result.ranks, result.test), (result.ranks_masked, result.test_masked)):
            assert metrics["recall@10"] == pytest.approx((ranks > 0).mean(), abs=1e-6)
            gains = np.where(ranks > 0, 1 / np.log2(np.maximum(ranks, 1) + 1), 0)
            assert metrics["ndcg@10"] == pytest.approx(gains.mean(), abs=1e-6)
        assert result.epochs == 1
        assert result.train_seconds > 0
        assert bool(result.id_level) == (result.model in ("TIGER", "MGRLFpp"))
    assert set(comparison.results[1].id_level) == {f"{part}@{k}" for part in ("id", "text", "image") for k in (5, 10)}
    assert "MGRLFpp" in markdown(comparison)

    written = files_of("saved")
    again = run_comparison(requests, "tiny", settings=settings)
    assert files_of("saved") == written
    assert markdown(again) == markdown(comparison)


def test_the_targets_are_the_last_interactions_of_the_file(make_settings):
    settings = make_settings()
    lines = Path("tiny/tiny.inter").read_text().splitlines()[1:]
    last = {}
    for user, item, time in (line.split("\t") for line in lines):
        last[user] = max(last.get(user, (0, "")), (float(time), item))
    result = run_comparison([request("MGRLF")], "tiny", settings=settings).results[0]
    assert dict(zip(result.users, result.targets, strict=True)) == {user: item for user, (_, item) in last.items()}


def test_general_models_are_tested_with_and_without_seen_items(make_settings):
    """Everybody bought the same three items and then two others, so neighbours only know of what they have."""
    neighbours = ["i0", "i1", "i2"]
    rows = [
        (f"u{user}", item, time)
        for user in range(12)
        for time, item in enumerate([*neighbours, f"i{3 + user}", f"i{3 + (user + 1) % 12}"])
    ]
    settings = settings_read("ItemKNN", make_settings(dataset={"interactions": rows}, topk=[3, 15]))
    settings["valid_metric"] = "NDCG@3"
    (result,) = run_comparison([request("ItemKNN")], "tiny", settings=settings).results
    assert result.num_items == 15
    assert result.test["recall@3"] == 0 and (result.ranks > 3).all()
    assert result.test_masked["recall@3"] > 0 and (result.ranks_masked <= 15 - 4).all()
    assert result.test["recall@15"] == result.test_masked["recall@15"] == 1


def test_what_one_row_drops_all_rows_drop(make_settings):
    settings = make_settings(dataset={"without_vector": ["i3", "i4"]}, user_inter_num_interval="[4,inf)")
    text = Path("tiny/tiny.text.ids")
    text.write_text(text.read_text().replace("i5\n", "unknown\n"))
    requests = [request("TIGER", missing_modality="drop"), request("MGRLF"), request("BPR"), request("SASRec")]
    results = run_comparison(requests, "tiny", settings=settings).results
    assert [result.num_items for result in results] == [21] * 4  # TIGER asks for text alone
    for result in results:
        assert not {"i3", "i4", "i5"} & set(result.targets)
    kept = run_comparison([request("MGRLF"), request("BPR")], "tiny", settings=settings).results
    assert [result.num_items for result in kept] == [24] * 2


def test_an_interrupted_comparison_goes_on_where_it_was(make_settings, monkeypatch):
    settings = make_settings(epochs=3, train_batch_size=8)
    requests = [request("BPR"), request("MGRLF"), request("SASRec")]
    expected = run_comparison(requests, "tiny", settings={**settings, "checkpoint_dir": "whole"}).results
    calculate_loss, calls = GenerativeRecommender.calculate_loss, []

    def interrupted(self, interaction):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return calculate_loss(self, interaction)

    monkeypatch.setattr(GenerativeRecommender, "calculate_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_comparison(requests, "tiny", settings=settings)
    finished = {file: time for file, time in files_of("saved").items() if "BPR" in str(file)}
    assert any(file.name == "result.json" for file in finished)
    results = run_comparison(requests, "tiny", settings=settings).results
    assert len(calls) == 6 + 2 * 4  # 4 steps an epoch, of which one was finished
    assert {file: time for file, time in files_of("saved").items() if "BPR" in str(file)} == finished
    for result, other in zip(results, expected, strict=True):
        assert (result.test, result.test_masked, result.valid) == (other.test, other.test_masked, other.valid)


def test_seeds_are_runs_of_one_row(make_settings):
    settings = make_settings()
    comparison = run_comparison([request("MGRLF"), request("BPR")], "tiny", settings=settings, seeds=[1, 2])
    assert [(result.label, result.seed) for result in comparison.results] == [
        ("MGRLF", 1),
        ("MGRLF", 2),
        ("BPR", 1),
        ("BPR", 2),
    ]
    one, two = comparison.rows["MGRLF"]
    assert one.test != two.test
    tables = {file.read_text() for file in Path("saved").rglob("best.semantic_ids.tsv")}
    assert len(tables) == 1  # one table of semantic IDs serves all seeds


def test_runs_on_other_data_never_meet(make_settings):
    settings = make_settings()
    first = run_comparison([request("MGRLF")], "tiny", settings=settings)
    image = Path("tiny/tiny.image.npy")
    content = bytearray(image.read_bytes())
    content[-1] ^= 1  # the sign of one number
    image.write_bytes(content)
    written = files_of("saved")
    second = run_comparison([request("MGRLF")], "tiny", settings=settings)
    assert first.provenance.fingerprint == second.provenance.fingerprint  # of the same interactions
    after = files_of("saved")
    assert {file: after[file] for file in written} == written
    assert len({file.parent for file in after if file.name == "result.json"}) == 2
    with Path("tiny/tiny.inter").open("a") as file:
        file.write("u1\ti2\t99999\n")
    third = run_comparison([request("MGRLF")], "tiny", settings=settings)
    assert third.provenance.fingerprint != first.provenance.fingerprint
    folders = {file.parent for file in files_of("saved") if file.name == "result.json"}
    assert [sum(other.provenance.fingerprint in str(folder) for folder in folders) for other in (first, third)] == [
        2,
        1,
    ]


def test_runs_with_other_settings_never_meet_and_where_they_ran_is_no_setting(make_settings):
    settings = make_settings()
    run_comparison([request("MGRLF")], "tiny", settings=settings)
    count = len(files_of("saved"))
    run_comparison([request("MGRLF")], "tiny", settings={**settings, "eval_batch_size": 7, "show_progress": True})
    assert len(files_of("saved")) == count
    run_comparison([request("MGRLF")], "tiny", settings={**settings, "learning_rate": 0.5})
    assert len(files_of("saved")) > count


def test_user_supplied_semantic_ids_count_by_their_content(make_settings):
    settings = make_settings()
    run_comparison([request("MGRLF")], "tiny", settings=settings)
    (table,) = Path("saved").rglob("best.semantic_ids.tsv")
    supplied = Path("mine.semantic_ids.tsv")
    lines = table.read_text().splitlines()
    header = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    results = []
    for tokens in ("original", "turned"):
        rows = [line.split("\t") for line in lines[header + 1 :]]
        if tokens == "turned":
            rows = [[row[0], *other[1:]] for row, other in zip(rows, rows[1:] + rows[:1], strict=True)]
        supplied.write_text("\n".join([*lines[: header + 1], *("\t".join(row) for row in rows)]) + "\n")
        results.append(
            run_comparison([request("MGRLF", semantic_ids=str(supplied))], "tiny", settings=settings).results[0]
        )
    assert results[0].test != results[1].test


def test_users_that_models_split_differently_are_refused(make_settings):
    rows = [(f"u{user}", f"i{(user + step) % 6}", step) for user in range(6) for step in range(5)]
    rows += [("short", "i0", 0), ("short", "i1", 1)]
    settings = for_any_model(make_settings(dataset={"interactions": rows}, topk=[3]))
    settings |= {"valid_metric": "NDCG@3", "floors": True}  # of which no message tells
    with pytest.raises(ValueError, match="SASRec and BPR were not tested on the same targets: 1 users.*user short"):
        run_comparison([request("SASRec"), request("BPR")], "tiny", settings=settings)
    settings |= {"user_inter_num_interval": "[4,inf)", "floors": False}
    results = run_comparison([request("SASRec"), request("BPR")], "tiny", settings=settings).results
    assert [len(result.users) for result in results] == [6, 6]


@pytest.mark.parametrize(
    ("requests", "changes", "seeds", "message"),
    [
        ([request("BPR"), request("BPR")], {}, None, "--model: BPR is given twice"),
        ([request("BPR")], {}, [1, 2, 1], "--seeds: 1 is given twice"),
        ([request("BPR"), request("MGRLF", data_path="elsewhere")], {}, None, "data_path: all rows of a table"),
        ([request("BPR"), request("Pop")], {"beam_size": 20}, None, "unknown setting 'beam_size' for any of BPR, Pop"),
        ([request("BPR"), request("MGRLF")], {"beem_size": 20}, None, "any of BPR, MGRLF; did you mean 'beam_size'"),
        ([request("BPR", beam_size=20)], {}, None, "unknown setting 'beam_size' for model BPR"),
        ([request("TIGER")], {"modalities": ["text", "image"]}, None, "TIGER takes one"),
        (
            [request("BPR"), request("MGRLF")],
            {"modalities": ["text", "smell"]},
            None,
            "MGRLF: .*'smell' has no features",
        ),
    ],
)
def test_wrong_requests_are_refused_before_anything_runs(make_settings, requests, changes, seeds, message):
    settings = for_any_model(make_settings())
    with pytest.raises(ValueError, match=message):
        run_comparison(requests, "tiny", settings={**settings, **changes}, seeds=seeds)
    assert not list(Path("saved").glob("*/*/seed-*"))


@pytest.mark.parametrize("model", ["SASRec", "BPR", "TIGER"])
def test_cut_offs_beyond_the_catalogue_are_refused(make_settings, model):
    settings = make_settings()
    wanted = {"topk": [10, 25]} | ({"beam_size": 25, "valid_beam_size": 25} if model == "TIGER" else {})
    settings = {**(settings if model == "TIGER" else for_any_model(settings)), **wanted}
    with pytest.raises(
        ValueError, match="topk: 25 is more than the 24 items that can be ranked; use cut-offs up to 24"
    ):
        run_comparison([request(model)], "tiny", settings=settings)


def test_names_of_rows_become_names_of_files():
    assert slug("Beauty (synthetic sample)") == "Beauty-synthetic-sample"
    assert (
        request("TIGER", modalities=["text", "image"], beam_size=50).label
        == "TIGER (modalities=text+image, beam_size=50)"
    )
    assert slug("TIGER (modalities=text+image)") == "TIGER-modalities=text+image"
