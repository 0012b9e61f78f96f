"""Loaded runs recommend as they were tested, and take new items, for every model and backbone."""

import itertools
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import recbole_mgr
from recbole_mgr.integration.registry import MODELS
from recbole_mgr.serving import Request, load
from recbole_mgr.serving.new_item_folder import add_items_of_folder

OTHERS = [name for name in MODELS if name != "UniMP"]  # whose runs tests/model/unimp uses


ANY = [*itertools.product(OTHERS, ("hierarchical", "t5")), ("MGRLFpp", "hierarchical", "ours")]


@pytest.fixture(scope="module", params=ANY, ids="-".join)
def any_run(request, make_run):
    name, backbone, *ours = request.param
    changes = {"modalities": ["text"]} if name == "TIGER" else {}
    if ours:
        changes |= {"branch_size": 3, "learn_repeats": True, "item_softmax": True, "memory": True, "popularity": True}
        changes["prior_weights"] = {"codes": 0.9, "item_softmax": 0.1, "memory": 0.1, "popularity": 0.1}
        changes["prior_candidates"] = 1
    return make_run(name, backbone=backbone, dataset={"without_vector": ["i3"]}, **changes)


@pytest.fixture
def model(run):
    return recbole_mgr.load(run.folder, device="cpu")


def random_features(model, run, count, seed=0):
    rng = np.random.default_rng(seed)
    return {modality: rng.normal(size=(count, 6)).astype(np.float32) for modality in model.modalities}


def codes_of(model, tokens):
    table = model._catalogue.network.semantic_ids
    rows = [table.item_tokens.index(token) + 1 for token in tokens]
    return table.codes[rows], table


@pytest.mark.parametrize("masked", [False, True])
def test_lists_are_those_of_the_test(any_run, masked):
    """RecBole's evaluation of the data set, against the run directory alone; the data is deleted."""
    model = recbole_mgr.load(any_run.folder, device="cpu")
    result = any_run.result
    histories = [any_run.histories[user][:-1] for user in result.users]
    found = model.recommend(histories=histories, k=10, mask_history=masked, batch_size=7)
    ranks = [
        items.index(target) + 1 if target in items else 0
        for items, target in zip(found.item_ids, result.targets, strict=True)
    ]
    np.testing.assert_array_equal(ranks, result.ranks_masked if masked else result.ranks)
    assert found.unknown == []
    for history, items, scores in zip(histories, found.item_ids, found.scores, strict=True):
        assert len(set(items)) == len(items) == 10
        assert scores == sorted(scores, reverse=True)
        assert not masked or not set(items) & set(history)


def test_new_items_join_and_the_old_stay(any_run):
    model = recbole_mgr.load(any_run.folder, device="cpu")
    before = model.item_ids
    old_codes, _ = codes_of(model, before)
    features = random_features(model, any_run, 5)
    twin = {modality: any_run.features[modality]["i7"] for modality in features}
    for modality, matrix in features.items():
        matrix[3] = matrix[4] = twin[modality]  # both as i7, to whose codes they must come
    new = [f"new{n}" for n in range(5)]
    report = model.add_items(new, features, titles=["New one"] * 5)
    assert report.added == new and report.left_out == []
    assert model.item_ids == [*before, *new]
    codes, table = codes_of(model, before)
    width = min(codes.shape[1], old_codes.shape[1])
    assert torch.equal(codes[:, :width], old_codes[:, :width])

    if any_run.result.settings["branch_size"]:
        item_ids = torch.arange(1, len(before) + 1)
        networks = (recbole_mgr.load(any_run.folder, device="cpu")._catalogue.network, model._catalogue.network)
        was, is_ = (n.backbone.decoder.branches.bias[1][n.trie.path(item_ids)[:, 2]] for n in networks)
        assert was.any() and torch.equal(was, is_)

    twins, _ = codes_of(model, ["i7", "new3", "new4"])
    places = [d for d, digit in enumerate(table.digits) if digit.kind == "code"]
    places = places if table.digits[-1].kind == "dedup" else places[:-1]
    assert (twins[:, places] == twins[0, places]).all()

    exact = {"beam_size": len(before) + 5, "k": len(before) + 5}
    whole = model.recommend(histories=[["i1", "new2"], ["new0"]], **exact)
    for items, scores in zip(whole.item_ids, whole.scores, strict=True):
        assert sorted(items) == sorted([*before, *new])
        if not any_run.result.settings["memory"]:  # with priors the scores are weighted sums
            assert np.exp(scores).sum() == pytest.approx(1, abs=1e-4)  # legal softmax: a distribution
    narrowed = model.recommend(histories=[["i1"]], only=new, k=10)
    assert sorted(narrowed.item_ids[0]) == new
    assert narrowed.titles[0] == ["New one"] * 5


def test_items_without_vectors_follow_the_policy(make_run):
    vector = np.ones((1, 6), dtype=np.float32)
    nothing = np.full((1, 6), np.nan, dtype=np.float32)
    for policy in ("mean", "zero", "drop"):
        run = make_run("MGRLF", missing_modality=policy, dataset={"without_vector": ["i3"]})
        model = recbole_mgr.load(run.folder, device="cpu")
        assert ("i3" in model.item_ids) == (policy != "drop")
        report = model.add_items(["half"], {"text": vector, "image": nothing})
        assert report.left_out == (["half"] if policy == "drop" else [])
        assert model.add_items(["none"], {"text": nothing}).left_out == ["none"]
        assert model.add_items(["whole"], {"text": vector, "image": vector}).added == ["whole"]
        if policy != "drop":
            codes, table = codes_of(model, ["half", "i3"])  # i3 has no picture either
            block = table.block("image")
            same = codes[0, block] == codes[1, block]
            assert same[:-1].all()  # the last level may have moved where there is no dedup digit


OURS = {"item_softmax": True, "memory": True, "branch_size": 3}


def test_the_same_new_items_stand_at_the_same_places_after_loading_again_and_one_after_another(make_run):
    run = make_run("MGRLFpp", code_weight=0, memory_options={"max_entries": 40}, **OURS)
    found = []
    for steps in ((3,), (3,), (2, 1)):
        model, start = recbole_mgr.load(run.folder, device="cpu"), 0
        features = random_features(model, run, 3)
        for step in steps:
            rows = slice(start, start := start + step)
            model.add_items([f"new{n}" for n in range(3)][rows], {name: part[rows] for name, part in features.items()})
        found.append(model.recommend(histories=[["i1", "i2"], ["i5", "new0"]], k=40))
    assert found[0] == found[1] and found[0].item_ids == found[2].item_ids
    np.testing.assert_allclose(found[0].scores, found[2].scores, rtol=1e-5)
    assert {"new0", "new1", "new2"} < set(found[0].item_ids[0])


def test_scores_of_known_items_stay_comparable_when_new_ones_join(make_run):
    """They lose the share of the new items, and no constant is taken from all."""
    run = make_run("TIGER", modalities=["text"], item_softmax=True, prior_weights={"codes": 0.0, "item_softmax": 1.0})
    model = recbole_mgr.load(run.folder, device="cpu")
    ask = {"histories": [["i1", "i2"]], "k": 30, "beam_size": 30}
    assert np.exp(model.recommend(**ask).scores[0]).sum() == pytest.approx(1, abs=1e-5)
    model.add_items(["new"], random_features(model, run, 1))
    offset = model.run.content.offset(model.run.network)
    lists = model.recommend(**ask)
    scores = [score - offset * (item == "new") for item, score in zip(lists.item_ids[0], lists.scores[0], strict=True)]
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("policy", ["mean", "drop"])
def test_new_items_have_no_collaborative_vector_and_get_that_of_items_alike(make_run, policy):
    modalities = ["collaborative", "text"]
    run = make_run("MGRLF", modalities=modalities, missing_modality=policy, dataset={"modalities": modalities})
    model = recbole_mgr.load(run.folder, device="cpu")
    tokenizer, known = model.run.tokenizer, model.item_ids
    codes, table = codes_of(model, known)
    block = table.block("collaborative")
    behaviour = tokenizer.quantizers["collaborative"].reconstruct(codes[:, block].numpy())
    text = np.stack([run.features["text"][token] for token in known])
    new = random_features(model, run, 8)["text"]
    cosine = np.clip(new @ text.T / np.linalg.norm(text, axis=1) / np.linalg.norm(new, axis=1)[:, None], 0, None)
    squares = np.where(cosine >= np.sort(cosine)[:, -5:-4], cosine, 0) ** 2
    means = squares @ behaviour / squares.sum(axis=1, keepdims=True)
    lengths = squares @ np.linalg.norm(behaviour, axis=1) / squares.sum(axis=1)
    expected = tokenizer.encode({"collaborative": means / np.linalg.norm(means, axis=1)[:, None] * lengths[:, None]})

    tokens = [f"new{n}" for n in range(8)]
    assert model.add_items(tokens, {"text": new}).added == tokens
    found, _ = codes_of(model, tokens)
    np.testing.assert_array_equal(found[:, block], expected["collaborative"])
    assert len(np.unique(found[:, block], axis=0)) > 1  # not one vector for all

    assert model.add_items(["twin"], {name: run.features[name]["i2"][None] for name in modalities}).added == ["twin"]
    found, _ = codes_of(model, ["i2", "twin"])
    assert torch.equal(found[0, block], found[1, block])  # a vector that is given counts
    without_text = model.add_items(["none"], {"collaborative": np.ones((1, 6), dtype=np.float32)})
    assert without_text.left_out == (["none"] if policy == "drop" else [])


@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_a_dedup_digit_is_widened(make_run, backbone):
    """Four codes for 24 items: many share theirs. Old scores stay relative to each other, new ones are in between."""
    run = make_run("TIGER", backbone=backbone, modalities=["text"], codebook_size=2, codebook_levels=2)
    model = recbole_mgr.load(run.folder, device="cpu")
    size = model._catalogue.network.semantic_ids.sizes[-1]
    history = [["i1", "i2"]]
    exact = {"beam_size": 100, "k": 100}
    old = model.recommend(histories=history, **exact)
    vector = run.features["text"]["i7"]
    model.add_items([f"new{n}" for n in range(size + 3)], {"text": np.tile(vector, (size + 3, 1))})
    assert model._catalogue.network.semantic_ids.sizes[-1] > size
    codes, _ = codes_of(model, ["i7", *(f"new{n}" for n in range(size + 3))])
    assert len(set(map(tuple, codes.tolist()))) == size + 4
    new = model.recommend(histories=history, **exact)
    old_scores = dict(zip(old.item_ids[0], old.scores[0], strict=True))
    new_scores = dict(zip(new.item_ids[0], new.scores[0], strict=True))
    all_codes, table = codes_of(model, list(old_scores))
    group = {item: tuple(row[:-1]) for item, row in zip(old_scores, all_codes.tolist(), strict=True)}
    own = tuple(codes[0, :-1].tolist())
    shifts = {group[item]: [] for item in old_scores}
    for item in old_scores:
        shifts[group[item]].append(new_scores[item] - old_scores[item])
    for codes_, changes in shifts.items():
        np.testing.assert_allclose(changes, changes[0], atol=1e-4)
        assert (changes[0] < -0.05) if codes_ == own else abs(changes[0]) < 1e-4


def test_users_by_id_are_their_whole_histories(model, run):
    users = ["u4", "u0", "u4"]
    by_id = model.recommend(users=users, k=3)
    by_history = model.recommend(histories=[run.histories[user] for user in users], k=3)
    assert by_id.users == users and by_history.users == ["1", "2", "3"]
    assert by_id[1:] == by_history[1:]
    assert len(set(map(tuple, by_id.item_ids))) == 2


def test_a_long_history_counts_with_its_end_and_is_masked_as_a_whole(make_run):
    run = make_run("MGRLF", MAX_ITEM_LIST_LENGTH=3)
    model = recbole_mgr.load(run.folder, device="cpu")
    long = [f"i{n}" for n in range(12)]
    assert model.recommend(histories=[long])[1:] == model.recommend(histories=[long[-3:]])[1:]
    masked = model.recommend(histories=[long], mask_history=True, k=24).item_ids[0]
    assert sorted(masked) == sorted(set(model.item_ids) - set(long))


def test_titles(model):
    found = model.recommend(histories=[["i1"]], k=24)
    titles = dict(zip(found.item_ids[0], found.titles[0], strict=True))
    assert titles["i5"] == 'Title "5" of i5'
    assert titles["i23"] == ""


def test_only(model):
    only = ["i1", "i2", "i3", "i1"]
    found = model.recommend(histories=[["i1"], ["i9", "i8"]], only=only, k=5)
    assert all(sorted(items) == ["i1", "i2", "i3"] for items in found.item_ids)
    with pytest.raises(ValueError, match="only: 1 of 2 items are not in the catalogue: 'x'"):
        model.recommend(histories=[["i1"]], only=["i1", "x"])
    assert model.recommend(histories=[["i1"]], only=["i1", "x"], unknown="skip").item_ids == [["i1"]]
    with pytest.raises(ValueError, match="names no item of the catalogue"):
        model.recommend(histories=[["i1"]], only=["x"], unknown="skip")


def test_unknown_ids_fail_or_are_skipped_by_name(model):
    with pytest.raises(ValueError, match="user 'u99' is not in the training data"):
        model.recommend(users=["u1", "u99"])
    with pytest.raises(ValueError, match="history 2: no such items: 'x', 'y'"):
        model.recommend(histories=[["i1"], ["x", "i1", "y"]])
    with pytest.raises(ValueError, match="history 1: no such items: 'i1,i2' \\(blanks part the ids, not commas\\)"):
        model.recommend(histories=[["i1,i2"]])
    with pytest.raises(ValueError, match="history 1: no such items: 'i1,x'; correct it"):
        model.recommend(histories=[["i1,x"]])
    with pytest.raises(ValueError, match="history 1: it is empty"):
        model.recommend(histories=[[]])
    found = model.recommend(histories=[["i1"], ["x", "i1", "y"], ["x"], []], unknown="skip", k=2, batch_size=1)
    assert found.unknown == ["x", "y"]
    assert found.item_ids[0] == found.item_ids[1] and len(found.item_ids[0]) == 2
    assert found.item_ids[2:] == found.scores[2:] == found.titles[2:] == [[], []]
    assert model.recommend(users=["u99"], unknown="skip").unknown == ["u99"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either users or histories"),
        ({"users": ["u1"], "histories": [["i1"]]}, "either users or histories"),
        ({"users": "u1"}, "users is a list"),
        ({"histories": ["i1"]}, "must be a list of item ids"),
        ({"users": ["u1"], "k": 0}, "k: 0 must be"),
        ({"users": ["u1"], "beam_size": 5.0}, "beam_size: 5.0 must be"),
        ({"users": ["u1"], "beam_size": 5, "k": 10}, "beam_size: 5 is below k: 10"),
        ({"users": ["u1"], "batch_size": -1}, "batch_size: -1 must be"),
        ({"users": ["u1"], "unknown": "ask"}, "unknown: 'ask' must be fail or skip"),
    ],
)
def test_wrong_questions_are_told(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.recommend(**arguments)


def test_more_items_than_there_are_are_all_of_them(model):
    everything = model.recommend(histories=[["i1", "i2"]], k=24, beam_size=24)
    assert model.recommend(histories=[["i1", "i2"]], k=10**9, beam_size=10**9) == everything
    assert sorted(everything.item_ids[0]) == sorted(model.item_ids)


def test_wrong_new_items_are_told(model):
    vectors = np.ones((2, 6), dtype=np.float32)
    both = {"text": vectors, "image": vectors}
    for tokens, features, message in (
        (["i1", "new"], both, "1 items are in the catalogue already, e.g. .'i1'"),
        (["new", "new"], both, "must be distinct"),
        (["a"], both, "2 rows of text for 1 items"),
        (["a", "b"], {"text": vectors, "sound": vectors}, "modalities are .'text', 'image'., not .'sound'"),
        (["a", "b"], {"text": np.ones((2, 5))}, r"'text' has shape \(2, 5\), expected \(2, 6\)"),
        (["a", "b"], {"text": vectors * [[1], [np.inf]]}, "'text', row 1: the vector is not finite"),
        (["a", "b"], {}, "not none at all"),
    ):
        with pytest.raises(ValueError, match=message):
            model.add_items(tokens, features)
    assert len(model.item_ids) == 24


def test_user_supplied_semantic_ids_know_no_quantiser(run, make_run, tmp_path):
    table = tmp_path / "mine.semantic_ids.tsv"
    shutil.copy(run.folder / "best.semantic_ids.tsv", table)
    supplied = make_run("MGRLF", semantic_ids=str(table))
    table.unlink()
    model = recbole_mgr.load(supplied.folder, device="cpu")
    assert model.modalities == [] and len(model.recommend(users=["u1"]).item_ids[0]) == 10
    with pytest.raises(ValueError, match="semantic IDs that the user supplied"):
        model.add_items(["new"], {"text": np.ones((1, 6))})


def test_a_device_that_is_not_there_is_told(run):
    for device in ("cuda:7", "abacus"):
        with pytest.raises(ValueError, match=f"device: {device} cannot be used"):
            recbole_mgr.load(run.folder, device=device)


def test_threads_share_a_run_and_do_not_see_each_other(any_run, monkeypatch):
    """Threads that meet inside the network, each with a beam and a masking of its own, get what each gets alone."""
    model = recbole_mgr.load(any_run.folder, device="cpu")
    histories = list(any_run.histories.values())
    options = [{"beam_size": 2}, {"beam_size": 20}, {"beam_size": 20, "mask_history": True}]
    alone = [model.recommend(histories=histories, k=2, **each) for each in options]
    assert alone[0] != alone[1] != alone[2]

    backbone, meeting = model._catalogue.network.backbone, threading.Barrier(len(options), timeout=60)
    start = backbone.start
    monkeypatch.setattr(backbone, "start", lambda *history: (meeting.wait(), start(*history))[1])
    with ThreadPoolExecutor(len(options)) as pool:
        calls = [pool.submit(model.recommend, histories=histories, k=2, **each) for each in options]
        assert [call.result() for call in calls] == alone


def test_allowed_items_are_looked_up_once_and_again_after_new_items(run, monkeypatch):
    model, looked_up = recbole_mgr.load(run.folder, device="cpu"), []
    usual = model._allow
    monkeypatch.setattr(model, "_allow", lambda *asked: (looked_up.append(asked), usual(*asked))[1])
    only = ["i2", "i5", "i7"]
    lists = [model.recommend(histories=[["i1"]], only=only) for _ in range(3)]
    assert lists[0] == lists[1] == lists[2]
    assert set(lists[0].item_ids[0]) == set(only)
    assert len(looked_up) == 1
    model.add_items(["new"], random_features(model, run, 1))
    assert set(model.recommend(histories=[["i1"]], only=only).item_ids[0]) == set(only)
    assert set(model.recommend(histories=[["i1"]], only=[*only, "new"]).item_ids[0]) == {*only, "new"}
    assert len(looked_up) == 3


def test_a_call_that_has_begun_does_not_see_new_items(run):
    model = recbole_mgr.load(run.folder, device="cpu")
    requests = [Request(user) for user in run.histories]
    before = list(model.stream(requests, batch_size=3, k=20, beam_size=20))
    stream = model.stream(requests, batch_size=3, k=20, beam_size=20, only=model.item_ids)
    batches = [next(stream)]
    model.add_items(["new"], random_features(model, run, 1))
    assert [*batches, *stream] == before
    assert "new" in model.recommend(users=["u1"], k=21, beam_size=21).item_ids[0]


def test_a_folder_of_new_items_is_written_as_the_runs_data_were(run, tmp_path):
    recommender = load(run.folder)
    recommender.run.settings.update({"ITEM_ID_FIELD": "asin", "encoding": "latin-1"})
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.item").write_bytes("asin:token\ttitle:token_seq\nnew\tCafé\n".encode("latin-1"))
    for modality, vectors in run.features.items():
        np.save(folder / f"shop.{modality}.npy", vectors["i1"][None] * 0.5)
        (folder / f"shop.{modality}.ids").write_text("new\n")
    assert add_items_of_folder(recommender, folder).added == ["new"]
    assert recommender.find_items("café")["items"][0]["item_id"] == "new"
