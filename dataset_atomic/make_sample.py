"""Make the synthetic sample `Beauty/`: a small invented beauty shop whose laws are known.

    python -m dataset_atomic.make_sample [--output FOLDER] [--seed N]

No product, brand, person or review in it exists. A shopper has a favourite brand, concern and scent,
which only the texts show, and a favourite shade and pattern, which only the pictures show. What is
bought next follows a routine over product types, the match with those favourites, and a product's own
appeal; purchases form habits, and favourites drift. So text and pictures each explain a part of what
happens and neither explains the whole. Because the laws are known, so is the best that anybody could do
with each modality: see `oracle_ceilings`.

Random numbers come from `random.Random`, whose streams have outlived many versions of Python.
"""

import argparse
import math
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from dataset_atomic.sample_drawing import PATTERNS, SHADES, choose_look, draw_product
from recbole_mgr.data.feature_file import write_features
from recbole_mgr.encoding.classical import encode_images, encode_text

NAME = "Beauty"
SEED = 2025
TEXT_ATTRIBUTES = ("brand", "concern", "scent")
PICTURE_ATTRIBUTES = ("shade", "pattern")
ATTRIBUTES = TEXT_ATTRIBUTES + PICTURE_ATTRIBUTES

# Two routines of four steps: (group, type, size, base price).
TYPES = (
    ("Skin Care", "Cleanser", "150 ml", 12.0),
    ("Skin Care", "Toner", "200 ml", 14.0),
    ("Skin Care", "Serum", "30 ml", 28.0),
    ("Skin Care", "Cream", "50 ml", 24.0),
    ("Makeup", "Blush", "6 g", 16.0),
    ("Makeup", "Eyeshadow", "9 g", 26.0),
    ("Makeup", "Lipstick", "4 g", 15.0),
    ("Makeup", "Nail Polish", "10 ml", 8.0),
)
STEPS = 4
VALUES = {
    "brand": ("Velmora", "Oriska", "Thalune", "Brindavi", "Nuvesse", "Calyndra", "Mirowe", "Pelisanne"),
    "concern": ("dryness", "breakouts", "sensitivity", "dullness"),
    "scent": ("rose", "vanilla", "citrus", "sandalwood"),
    "shade": tuple(SHADES),
    "pattern": PATTERNS,
}
LINES = ("Daily", "Studio", "Original", "Atelier", "Pure", "Essential")  # words without any meaning

SHOPPERS = 1200
CORE = 5  # purchases that every shopper and every product keeps at the least
WITHOUT_PICTURE = 6
TASTE = {"brand": 2.2, "concern": 1.5, "scent": 1.2, "shade": 2.6, "pattern": 1.8}  # in logits
NEIGHBOUR = 0.35  # how much of the taste for a shade extends to its neighbours on the colour wheel
APPEAL = 0.4  # standard deviation of a product's own appeal, in logits
NEXT_STEP, SAME_STEP, OTHER_ROUTINE = 0.62, 0.08, 0.15  # the rest is spread over all types
IMPULSE = 0.08  # purchases that follow appeal only
HABIT, DRIFT = 0.15, 0.03  # after a purchase: take over its attribute, or take a fancy to another
# A rating: stars without any favourite, for each favourite, and a random error; and the mood that a shopper is in when
# rating, which wanders (its standard deviation, and what is kept of it from one rating to the next).
NO_FAVOURITE, EACH_FAVOURITE, ERROR = 3.0, 0.3, 0.3
MOOD, MOOD_KEPT = 0.8, 0.85

REASONS = {
    "brand": "{brand} has never let me down",
    "concern": "it really helps with my {concern}",
    "scent": "I love the {scent} scent",
    "shade": "the {shade} shade is exactly my colour",
    "pattern": "the {pattern} design looks lovely",
}
VERDICTS = ("Sadly not for me.", "I expected more.", "It is all right.", "Good buy.", "Would buy it again.")


class Catalogue(NamedTuple):
    """n products: index into TYPES, indices into VALUES by attribute, own appeal in logits."""

    tokens: list[str]
    kind: np.ndarray  # int [n]
    attributes: dict[str, np.ndarray]  # each int [n]
    appeal: np.ndarray  # float [n]


class Purchase(NamedTuple):
    """One row of `.inter`, with what only the generator knows."""

    user: str
    item: int
    time: int  # unix seconds
    rating: int  # 1 to 5
    review: str
    chances: np.ndarray  # float [n], the true probability of each product being this purchase


def make_catalogue(rng: random.Random) -> Catalogue:
    """Cross 8 formulas (brand, concern, scent) with 10 looks (shade, pattern) in each type."""
    rows = []
    for kind in range(len(TYPES)):
        formulas = zip(*(_evenly(rng, name, 8) for name in TEXT_ATTRIBUTES), strict=True)
        looks = list(zip(*(_evenly(rng, name, 10) for name in PICTURE_ATTRIBUTES), strict=True))
        rows += [(kind, *formula, *look) for formula in formulas for look in looks]
    rng.shuffle(rows)  # so that a token tells nothing
    kind, *attributes = np.array(rows).T
    return Catalogue(
        tokens=[f"B0SYN{number:05d}" for number in range(len(rows))],
        kind=kind,
        attributes=dict(zip(ATTRIBUTES, attributes, strict=True)),
        appeal=np.array([rng.gauss(0, APPEAL) for _ in rows]),
    )


def _evenly(rng: random.Random, attribute: str, count: int) -> list[int]:
    """`count` values of an attribute in random order, each of them equally often."""
    values = [value % len(VALUES[attribute]) for value in range(count)]
    rng.shuffle(values)
    return values


def shop(rng: random.Random, catalogue: Catalogue, user: str) -> list[Purchase]:
    """Let one shopper buy; no product twice."""
    taste = {name: _fancy(rng, name) for name in ATTRIBUTES}
    moods = random.Random(f"moods of {user}")  # a stream of its own, so that ratings do not change what is bought
    mood = moods.gauss(0, MOOD)
    time = 1_609_459_200 + int(rng.random() * 700 * 86_400)  # 2021 and 2022
    step, bought, history = rng.randrange(len(TYPES)), np.zeros(len(catalogue.kind), bool), []
    for _ in range(CORE + min(int(rng.expovariate(1 / 4.5)), 35)):
        chances = next_chances(catalogue, taste, step, bought)
        item = rng.choices(range(len(chances)), chances)[0]
        traits = {name: int(values[item]) for name, values in catalogue.attributes.items()}
        liked = [name for name in ATTRIBUTES if traits[name] == taste[name]]
        rating = max(1, min(5, round(NO_FAVOURITE + EACH_FAVOURITE * len(liked) + mood + rng.gauss(0, ERROR))))
        mood = MOOD_KEPT * mood + math.sqrt(1 - MOOD_KEPT**2) * moods.gauss(0, MOOD)
        review = _write_review(rng, traits, liked, rating)
        history.append(Purchase(user, item, time, rating, review, chances))
        bought[item], step = True, catalogue.kind[item]
        for name in ATTRIBUTES:
            roll = rng.random()
            if roll < DRIFT:
                taste[name] = _fancy(rng, name)
            elif roll < DRIFT + HABIT:
                taste[name] = traits[name]
        time += _pause(rng)
    return history


def next_chances(catalogue: Catalogue, taste: dict[str, int], step: int, bought: np.ndarray) -> np.ndarray:
    """The true probability of each product being bought next: float [n], zero where already bought."""
    logits = catalogue.appeal.copy()
    for name, values in catalogue.attributes.items():
        logits += TASTE[name] * (values == taste[name])
    around = np.abs(catalogue.attributes["shade"] - taste["shade"])
    logits += TASTE["shade"] * NEIGHBOUR * np.isin(around, (1, len(SHADES) - 1))
    weights = np.exp(logits)  # [n]
    within_type = weights / np.bincount(catalogue.kind, weights)[catalogue.kind]
    considered = _step_chances(step)[catalogue.kind] * within_type
    impulsive = np.exp(catalogue.appeal) / np.exp(catalogue.appeal).sum()
    chances = np.where(bought, 0, (1 - IMPULSE) * considered + IMPULSE * impulsive)
    return chances / chances.sum()


def _step_chances(step: int) -> np.ndarray:
    """The probability of each type after a purchase of type `step`: float [types]."""
    routine, place = divmod(step, STEPS)
    spread = 1 - NEXT_STEP - SAME_STEP - OTHER_ROUTINE
    chances = np.full(len(TYPES), spread / len(TYPES))
    chances[routine * STEPS + (place + 1) % STEPS] += NEXT_STEP
    chances[step] += SAME_STEP
    chances[(1 - routine) * STEPS] += OTHER_ROUTINE
    return chances


def _fancy(rng: random.Random, attribute: str) -> int:
    """A favourite value; the first ones are the more fashionable, which makes popularity skewed."""
    count = len(VALUES[attribute])
    return rng.choices(range(count), [(rank + 1) ** -0.5 for rank in range(count)])[0]


def _pause(rng: random.Random) -> int:
    """Seconds to the next purchase: the same basket (none), the same visit, or days."""
    roll = rng.random()
    if roll < 0.2:
        return 0
    return 20 + int(rng.random() * 70) if roll < 0.3 else 3_600 + int(rng.expovariate(1 / 12) * 86_400)


def _write_review(rng: random.Random, traits: dict[str, int], liked: list[str], rating: int) -> str:
    """A sentence with up to two true reasons and a verdict; one purchase in five stays unreviewed: ''."""
    if rng.random() < 0.2:
        return ""
    words = {name: VALUES[name][value] for name, value in traits.items()}
    reasons = [REASONS[name].format(**words) for name in rng.sample(liked, min(2, len(liked)))]
    sentence = " and ".join(reasons) or rng.choice(("it was a gift", "I wanted to try something new"))
    return f"{sentence[0].upper()}{sentence[1:]}. {VERDICTS[rating - 1]}"


def keep_core(histories: list[list[Purchase]]) -> list[list[Purchase]]:
    """Drop products and shoppers with fewer than CORE purchases until none is left to drop."""
    while True:
        sold = Counter(purchase.item for history in histories for purchase in history)
        kept = [[purchase for purchase in history if sold[purchase.item] >= CORE] for history in histories]
        kept = [history for history in kept if len(history) >= CORE]
        if sum(map(len, kept)) == sold.total():
            return kept
        histories = kept


def oracle_ceilings(
    catalogue: Catalogue, histories: list[list[Purchase]], pictured: np.ndarray
) -> dict[str, dict[str, float]]:
    """What the best possible recommender reaches on each shopper's last purchase.

    An oracle knows the shopper's true state and the true probabilities, and ranks the products that the
    shopper has not bought. It tells products apart only by the attributes it sees: products that look
    the same to it share the mean of their probabilities, and their ties are broken at random (the
    figures are the exact expectation over that). `type` sees the product type only, as every oracle does.

    Args:
        catalogue: the n products.
        histories: the purchases that are kept.
        pictured: bool [n], False for products without a picture: their looks are all the same.

    Returns:
        for each oracle `recall@10` and `ndcg@10`.
    """
    on_sale = np.unique([purchase.item for history in histories for purchase in history])
    looks = [np.where(pictured, catalogue.attributes[name], -1) for name in PICTURE_ATTRIBUTES]
    texts = [catalogue.attributes[name] for name in TEXT_ATTRIBUTES]
    sights = {"type": [], "text": texts, "image": looks, "full": texts + looks}
    gains = np.array([1 / math.log2(rank + 2) for rank in range(10)])
    ceilings = {}
    for oracle, seen in sights.items():
        sight = np.stack([catalogue.kind, *seen], axis=1)  # [n, attributes]
        group = np.unique(sight, axis=0, return_inverse=True)[1].reshape(-1)  # [n]
        recall = ndcg = 0.0
        for history in histories:
            target, chances = history[-1].item, history[-1].chances
            candidates = on_sale[chances[on_sale] > 0]
            mass = np.bincount(group[candidates], chances[candidates], minlength=group.max() + 1)
            size = np.bincount(group[candidates], minlength=group.max() + 1)
            scores = mass[group[candidates]] / size[group[candidates]]  # [candidates]
            mine = mass[group[target]] / size[group[target]]
            above, tied = int((scores > mine).sum()), int((scores == mine).sum())
            recall += len(gains[above : above + tied]) / tied
            ndcg += gains[above : above + tied].sum() / tied
        ceilings[oracle] = {
            "recall@10": round(recall / len(histories), 4),
            "ndcg@10": round(float(ndcg) / len(histories), 4),
        }
    return ceilings


def write_sample(folder: Path, seed: int = SEED) -> None:
    """Write every file of the sample; the folder may exist."""
    rng = random.Random(seed)
    catalogue = make_catalogue(rng)
    histories = keep_core([shop(rng, catalogue, f"U{number:05d}") for number in range(SHOPPERS)])
    purchases = [purchase for history in histories for purchase in history]
    on_sale = sorted({purchase.item for purchase in purchases})
    pictured = np.ones(len(catalogue.tokens), bool)
    pictured[rng.sample(on_sale, WITHOUT_PICTURE)] = False

    (folder / "images").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "images").glob("B0SYN*.jpg"):
        stale.unlink()
    items = [_describe_item(rng, catalogue, item, pictured[item]) for item in on_sale]
    _write_table(folder / f"{NAME}.item", items)
    _write_table(
        folder / f"{NAME}.inter",
        [
            {
                "user_id:token": purchase.user,
                "item_id:token": catalogue.tokens[purchase.item],
                "rating:float": purchase.rating,
                "timestamp:float": purchase.time,
            }
            for purchase in purchases
        ],
    )
    reviews = [
        {
            "user_id:token": purchase.user,
            "item_id:token": catalogue.tokens[purchase.item],
            "review:token_seq": purchase.review,
        }
        for purchase in purchases
        if purchase.review
    ]
    _write_table(folder / f"{NAME}.review", reviews)
    for item, row in zip(on_sale, items, strict=True):
        if pictured[item]:
            shade, pattern = (VALUES[name][catalogue.attributes[name][item]] for name in PICTURE_ATTRIBUTES)
            picture = draw_product(choose_look(rng, TYPES[catalogue.kind[item]][1], shade, pattern))
            picture.save(folder / "images" / row["image:token"], quality=88)
    _write_feature_files(folder, items)
    provenance = {
        "source": "invented by dataset_atomic/make_sample.py; no product, brand, person or review exists",
        "licence": "MIT (the project's own)",
        "synthetic": True,
        "label": f"{NAME} (synthetic sample)",
        "users": len(histories),
        "items": len(on_sale),
        "interactions": len(purchases),
        "reviews": len(reviews),
        "items_without_picture": WITHOUT_PICTURE,
        "generator": "python -m dataset_atomic.make_sample",
        "seed": seed,
        "oracle_ceilings": oracle_ceilings(catalogue, histories, pictured),
    }
    text = yaml.safe_dump(provenance, sort_keys=False, width=110)
    (folder / f"{NAME}.provenance.yaml").write_text(text, encoding="utf-8")


def _describe_item(rng: random.Random, catalogue: Catalogue, item: int, pictured: bool) -> dict[str, str]:
    """The row of `.item`: what the texts say, and where the picture is."""
    group, kind, size, base = TYPES[catalogue.kind[item]]
    words = {name: VALUES[name][catalogue.attributes[name][item]] for name in TEXT_ATTRIBUTES}
    title = f"{words['brand']} {rng.choice(LINES)} {kind} for {words['concern'].title()}"
    # Brands differ in price: each is a little dearer than the one before.
    price = base * (0.7 + 0.1 * catalogue.attributes["brand"][item]) * (0.9 + 0.2 * rng.random())
    return {
        "item_id:token": catalogue.tokens[item],
        "title:token_seq": f"{title}, {words['scent'].title()} Scent, {size}",
        "brand:token": words["brand"],
        "categories:token_seq": f"Beauty > {group} > {kind}",
        "price:float": f"{price:.2f}",
        "image:token": f"{catalogue.tokens[item]}.jpg" if pictured else "",
    }


def _write_table(file: Path, rows: list[dict]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _write_feature_files(folder: Path, items: list[dict[str, str]]) -> None:
    tokens = [row["item_id:token"] for row in items]
    texts = [f"{row['title:token_seq']} {row['categories:token_seq']}" for row in items]
    write_features(folder, NAME, "text", tokens, encode_text(texts))
    images = encode_images([folder / "images" / row["image:token"] if row["image:token"] else None for row in items])
    with_picture = [token for token, present in zip(tokens, images.present, strict=True) if present]
    write_features(folder, NAME, "image", with_picture, images.vectors[images.present])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the synthetic sample data set.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / NAME)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    write_sample(arguments.output, arguments.seed)
