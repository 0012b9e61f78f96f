"""The bundled synthetic sample: what is committed is what the generator makes, and keeps its promises."""

import importlib
import math
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from recbole_mgr.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "dataset_atomic" / "Beauty"


@pytest.fixture(scope="module")
def generator():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("dataset_atomic.make_sample")


@pytest.fixture(scope="module")
def remade(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remade")
    command = [sys.executable, "-m", "dataset_atomic.make_sample", "--output", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


def read(suffix):
    table = pd.read_csv(SAMPLE / f"Beauty.{suffix}", sep="\t", dtype=str, keep_default_na=False)
    return table.rename(columns=lambda column: column.partition(":")[0])


def features(folder, modality):
    vectors = np.load(folder / f"Beauty.{modality}.npy", allow_pickle=False)
    tokens = (folder / f"Beauty.{modality}.ids").read_text().split()
    assert len(tokens) == len(set(tokens)) == len(vectors)
    return tokens, vectors.astype(np.float32)


def test_the_generator_makes_the_committed_tables(remade):
    for suffix in ("inter", "item", "review"):
        assert (remade / f"Beauty.{suffix}").read_bytes() == (SAMPLE / f"Beauty.{suffix}").read_bytes()
    ours, theirs = (yaml.safe_load((at / "Beauty.provenance.yaml").read_text()) for at in (SAMPLE, remade))
    for oracle, figures in ours.pop("oracle_ceilings").items():
        assert theirs["oracle_ceilings"][oracle] == pytest.approx(figures, abs=2e-4)
    theirs.pop("oracle_ceilings")
    assert ours == theirs


def test_the_generator_draws_the_committed_pictures(remade):
    names = [sorted(path.name for path in (folder / "images").iterdir()) for folder in (SAMPLE, remade)]
    assert names[0] == names[1]
    for name in names[0]:
        ours, theirs = (np.asarray(Image.open(at / "images" / name), float) for at in (SAMPLE, remade))
        assert np.abs(ours - theirs).mean() < 3, name


@pytest.mark.parametrize("modality", ["text", "image"])
def test_the_generator_encodes_the_committed_features(remade, modality):
    (our_tokens, ours), (their_tokens, theirs) = (features(folder, modality) for folder in (SAMPLE, remade))
    assert our_tokens == their_tokens
    # Inner products: singular directions may turn between versions of the libraries, angles may not.
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=0.02)


def test_files_agree_with_each_other_and_with_the_contract():
    inter, item, review = read("inter"), read("item"), read("review")
    assert list(inter) == ["user_id", "item_id", "rating", "timestamp"]
    assert list(item) == ["item_id", "title", "brand", "categories", "price", "image"]
    assert list(review) == ["user_id", "item_id", "review"]
    assert item.item_id.is_unique
    assert set(inter.item_id) == set(item.item_id)
    assert not inter.duplicated(["user_id", "item_id"]).any()
    assert inter.user_id.value_counts().min() >= 5
    assert inter.item_id.value_counts().min() >= 5
    assert set(inter.rating) == {"1", "2", "3", "4", "5"}
    bought = set(zip(inter.user_id, inter.item_id, strict=True))
    reviewed = list(zip(review.user_id, review.item_id, strict=True))
    assert len(set(reviewed)) == len(reviewed)
    assert bought > set(reviewed)
    assert review.review.str.strip().ne("").all()

    pictures = set(item.image) - {""}
    assert pictures == {path.name for path in (SAMPLE / "images").iterdir()}
    assert features(SAMPLE, "text")[0] == item.item_id.tolist()
    assert features(SAMPLE, "image")[0] == item.item_id[item.image.ne("")].tolist()
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 6e6

    provenance = yaml.safe_load((SAMPLE / "Beauty.provenance.yaml").read_text())
    assert provenance["synthetic"] is True
    assert provenance["label"] == "Beauty (synthetic sample)"
    assert provenance["users"] == inter.user_id.nunique()
    assert provenance["items"] == len(item)
    assert provenance["interactions"] == len(inter)
    assert provenance["reviews"] == len(review)
    assert provenance["items_without_picture"] == item.image.eq("").sum() > 0


def test_rows_of_a_shopper_stand_together_in_time_order_with_ties():
    inter = read("inter")
    assert (inter.user_id != inter.user_id.shift()).sum() == inter.user_id.nunique()
    gaps = inter.timestamp.astype(int).groupby(inter.user_id).diff().dropna()
    assert (gaps >= 0).all()
    assert (gaps == 0).mean() > 0.1
    assert ((gaps > 0) & (gaps < 128)).any()  # seconds that float32 cannot tell apart


def test_oracles_are_far_enough_apart_to_show_what_fusion_gains():
    ceilings = yaml.safe_load((SAMPLE / "Beauty.provenance.yaml").read_text())["oracle_ceilings"]
    for metric in ("recall@10", "ndcg@10"):
        kind, text, image, full = (ceilings[name][metric] for name in ("type", "text", "image", "full"))
        assert 2 * kind < min(text, image)
        assert 1.3 * max(text, image) < full
    assert 0.35 < ceilings["full"]["recall@10"] < 0.6


def test_each_modality_shows_its_own_attributes_only(generator):
    catalogue = generator.make_catalogue(random.Random(generator.SEED))
    row_of = {token: row for row, token in enumerate(catalogue.tokens)}
    told = " ".join(read("item").drop(columns="image").to_numpy().ravel()).lower()
    for name in generator.PICTURE_ATTRIBUTES:
        assert not [value for value in generator.VALUES[name] if value in told]
    for modality, visible in (
        ("text", generator.TEXT_ATTRIBUTES),
        ("image", generator.PICTURE_ATTRIBUTES),
    ):
        tokens, vectors = features(SAMPLE, modality)
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -2)
        neighbours = np.argsort(-similarity, axis=1)[:, :5]
        rows = [row_of[token] for token in tokens]
        for name, values in catalogue.attributes.items():
            found = values[rows]
            agreement = (found[neighbours] == found[:, None]).mean()
            chance = sum((count / len(found)) ** 2 for count in Counter(found.tolist()).values())
            assert (agreement > 2 * chance) if name in visible else (agreement < 1.2 * chance), name


def tiny_catalogue(generator, looks):
    """24 products of one type in two formulas; `looks` are their shades."""
    attributes = {name: np.zeros(24, int) for name in generator.ATTRIBUTES}
    attributes["brand"][12:] = 1
    attributes["shade"] = np.array(looks)
    tokens = [str(number) for number in range(24)]
    return generator.Catalogue(tokens, np.zeros(24, int), attributes, np.zeros(24))


def test_oracle_ceilings_of_a_world_worked_out_by_hand(generator):
    catalogue = tiny_catalogue(generator, [*range(12), *range(12)])
    weights = np.ones(24)
    weights[:12], weights[3] = 2, 9  # product 3 is the best; its formula beats the other
    weights[7] = 0  # bought already: it neither ranks nor counts in its group's mean
    purchase = generator.Purchase("u", 3, 0, 5, "", weights / weights.sum())
    others = [generator.Purchase("u", item, 0, 5, "", weights) for item in range(24) if item != 3]
    ceilings = generator.oracle_ceilings(catalogue, [[*others, purchase]], np.ones(24, bool))
    gains = [1 / math.log2(rank + 2) for rank in range(10)]
    expected = {
        "type": (10 / 23, sum(gains) / 23),  # 23 products alike
        "text": (10 / 11, sum(gains) / 11),  # 11 products alike, before all others
        "image": (1, (gains[0] + gains[1]) / 2),  # two products of its shade, before all others
        "full": (1, 1),
    }
    for oracle, (recall, ndcg) in expected.items():
        assert ceilings[oracle] == pytest.approx({"recall@10": recall, "ndcg@10": ndcg}, abs=1e-4), oracle


def test_an_oracle_of_pictures_sees_nothing_of_products_without_one(generator):
    catalogue = tiny_catalogue(generator, [*range(12), *range(12)])
    weights = np.arange(24, 0, -1.0)
    history = [generator.Purchase("u", item, 0, 5, "", weights) for item in range(23, -1, -1)]
    blind = generator.oracle_ceilings(catalogue, [history], np.zeros(24, bool))
    assert blind["image"] == blind["type"]
    assert blind["full"] == blind["text"]


def test_chances_follow_taste_and_leave_out_what_was_bought(generator):
    catalogue = generator.make_catalogue(random.Random(3))
    taste = {name: int(values[5]) for name, values in catalogue.attributes.items()}
    bought = np.zeros(len(catalogue.kind), bool)
    step = (int(catalogue.kind[5]) // generator.STEPS) * generator.STEPS + (
        int(catalogue.kind[5]) - 1
    ) % generator.STEPS
    chances = generator.next_chances(catalogue, taste, step, bought)
    assert chances.sum() == pytest.approx(1)
    next_type = catalogue.kind == catalogue.kind[5]
    assert chances[next_type].sum() > 0.5
    for name, values in catalogue.attributes.items():
        liked = values == taste[name]
        assert chances[next_type & liked].mean() > 1.5 * chances[next_type & ~liked].mean(), name
    bought[5] = True
    later = generator.next_chances(catalogue, taste, step, bought)
    assert later[5] == 0
    np.testing.assert_allclose(later[~bought], chances[~bought] / (1 - chances[5]))


def test_core_drops_until_nothing_is_left_to_drop(generator):
    def history(user, items):
        return [generator.Purchase(user, item, 0, 5, "", np.ones(1)) for item in items]

    regular = [history(f"u{number}", [0, 1, 2, 3, 4]) for number in range(5)]
    # u5 falls below five once product 9 goes, and no sooner.
    kept = generator.keep_core([*regular, history("u5", [0, 1, 2, 3, 9])])
    assert kept == regular


def test_the_readme_example_works_as_printed(tmp_path, monkeypatch):
    readme = (ROOT / "dataset_atomic" / "README.md").read_text(encoding="utf-8")
    files = re.findall(r"`data/(Shop/Shop[.a-z]+)`.*?```\n(.*?)```", readme, re.DOTALL)
    assert [name for name, _ in files] == ["Shop/Shop.inter", "Shop/Shop.item", "Shop/Shop.provenance.yaml"]
    (tmp_path / "data" / "Shop").mkdir(parents=True)
    for name, content in files:
        (tmp_path / "data" / name).write_text(content)
    commands = re.findall(r"^recbole-mgr (encode Shop .*text)$", readme, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    assert [main(command.split()) for command in commands] == [0]
    assert np.load("data/Shop/Shop.text.npy").shape == (3, 64)
    assert Path("data/Shop/Shop.text.ids").read_text().split() == ["balm", "soap", "mask"]


def test_the_readme_states_the_ceilings_and_counts_of_the_provenance():
    readme = (ROOT / "dataset_atomic" / "README.md").read_text(encoding="utf-8")
    provenance = yaml.safe_load((SAMPLE / "Beauty.provenance.yaml").read_text())
    for figures in provenance["oracle_ceilings"].values():
        assert f"| {figures['recall@10']:.3f} | {figures['ndcg@10']:.3f} |" in readme
    counts = (
        f"{provenance[key]:,} {word}"
        for key, word in (("users", "shoppers"), ("items", "products"), ("interactions", "purchases"))
    )
    assert ", ".join(counts) in readme
