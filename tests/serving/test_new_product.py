"""A product by its photo and its words gets the codes that training would have given it, and nobody else sees it."""

import base64
import re

import numpy as np
import pytest
from browser import served_pages
from PIL import Image

from recbole_mgr.cli.main import main
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.serving import load
from recbole_mgr.serving.new_product import place_product
from recbole_mgr.serving.product_encoders import Product

WORDS = "red blue green grey long short warm light soft plain".split()


def words_of(number: int) -> str:
    return f"{WORDS[number % 10]} {WORDS[number // 3 % 10]} thing {WORDS[number // 7 % 10]}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory, write_dataset, tiny_settings):
    """A shop whose titles and pictures were encoded, and an LF run on it."""
    folder = tmp_path_factory.mktemp("encoded")
    data = write_dataset(folder, modalities=())
    (data / "images").mkdir(exist_ok=True)
    lines = ["item_id:token\ttitle:token_seq\timage:token"]
    generator = np.random.default_rng(0)
    for number in range(24):
        lines.append(f"i{number}\t{words_of(number)}\ti{number}.png")
        blocks = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((40, 40), Image.Resampling.NEAREST).save(data / "images" / f"i{number}.png")
    (data / "tiny.item").write_text("\n".join(lines) + "\n")
    for modality in ("text", "image"):
        assert main(["encode", "tiny", "--data_path", str(folder), "--modality", modality, "--dim", "8"]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = tiny_settings(folder, n_layers=1, num_threads=1, checkpoint_dir=str(folder / "saved"))
        run_comparison([ModelRequest("MGRLF", {})], "tiny", settings=settings)
    return data, next(folder.glob("saved/*/*/seed-*"))


def product_like(data, number: int) -> Product:
    return Product({"title": words_of(number)}, (data / "images" / f"i{number}.png").read_bytes())


def test_a_product_like_one_of_the_catalogue_gets_its_codes(shop):
    data, run_dir = shop
    recommender = load(run_dir, device="cpu")
    assert recommender.about["encodes"] == {"text": ["title"], "image": ["image"]}
    before = recommender.recommend(histories=[["i1"]])
    for number in (0, 5, 11):
        placed = place_product(recommender, product_like(data, number))
        own = recommender.codes_of(f"i{number}")
        assert placed.codes[:-1] == own[:-1]  # the last one is the other's, whether it is a collision digit or not
        assert placed.codes[-1] != own[-1]
        assert placed.near[0][1] == len(own) - 1
        assert f"i{number}" in [item for item, shared in placed.near if shared == len(own) - 1]
    assert recommender.recommend(histories=[["i1"]]) == before
    assert recommender.num_items == 24


def test_who_would_see_it(shop):
    data, run_dir = shop
    recommender = load(run_dir, device="cpu")
    placed = place_product(recommender, product_like(data, 3), k=25)
    assert placed.asked == len(recommender.run.histories) == len(placed.seen)  # so long a list holds every item
    assert [one.rank for one in placed.seen] == sorted(one.rank for one in placed.seen)
    short = place_product(recommender, product_like(data, 3), k=5, most_users=7)
    assert short.asked == 7
    assert {one.user for one in short.seen} <= {one.user for one in placed.seen}
    assert place_product(recommender, product_like(data, 3), most_users=0).asked == 0


def test_words_or_a_photo_alone_will_do(shop):
    data, run_dir = shop
    recommender = load(run_dir, device="cpu")
    table = recommender.run.network.semantic_ids
    for product, modality in (
        (Product({"title": words_of(5)}), "text"),
        (product_like(data, 5)._replace(words={}), "image"),
    ):
        codes = place_product(recommender, product, most_users=0).codes
        block = table.block(modality)
        assert codes[block] == recommender.codes_of("i5")[block]


def test_what_says_nothing_is_told(shop, run):
    _, run_dir = shop
    recommender = load(run_dir, device="cpu")
    for product, words in (
        (Product({}), "they read image, title"),
        (Product({"title": "\u0416\u0416\u0416"}), "nothing of this product that the encoders know"),
        (Product({}, b"no picture"), "the picture cannot be read"),
    ):
        with pytest.raises(ValueError, match=words):
            place_product(recommender, product)
    with pytest.raises(ValueError, match="were not made by recbole-mgr encode"):
        place_product(load(run.folder, device="cpu"), Product({"title": "soap"}))


@pytest.fixture(scope="module")
def address(shop, tmp_path_factory):
    with served_pages({"lf": shop[1]}, tmp_path_factory.mktemp("served") / "view", num_users=0) as address:
        yield address


def test_over_http(shop, address):
    import httpx

    data, run_dir = shop
    product = product_like(data, 5)
    body = {"words": dict(product.words), "picture": base64.b64encode(product.picture).decode(), "k": 25}
    answer = httpx.post(f"{address}/new-product", json=body).json()
    placed = place_product(load(run_dir, device="cpu"), product, k=25)
    assert answer["codes"] == placed.codes
    assert [(one["item_id"], one["shared"]) for one in answer["near"]] == placed.near
    assert [(one["user"], one["rank"]) for one in answer["seen"]] == [tuple(one) for one in placed.seen]
    assert [digit["name"] for digit in answer["digits"]][:2] == ["text 1", "text 2"]
    for wrong, status in (({"picture": "%"}, 400), ({"words": {}}, 400), ({"words": {"title": "x" * 3000}}, 422)):
        assert httpx.post(f"{address}/new-product", json=wrong).status_code == status


def test_in_a_browser(shop, address, open_page):
    from playwright.sync_api import expect

    data, run_dir = shop
    page = open_page(address)
    form = page.get_by_role("region", name="A new product")
    expect(form).to_be_visible()
    form.get_by_label("Photo").set_input_files(data / "images" / "i5.png")
    form.get_by_label("Title").fill(words_of(5))
    form.get_by_role("button", name="See where it stands").click()
    codes = form.get_by_role("list", name="Semantic ID of the product").locator(".chip")
    expect(codes.first).to_have_text(str(load(run_dir, device="cpu").codes_of("i5")[0]))
    expect(form.locator(".strip .card").first).to_be_visible()
    # sent as a JPEG, so that its codes, and who sees it, may differ from the file's
    expect(form.get_by_role("heading", name="Would be shown to")).to_contain_text("users, among 10 items")
    expect(form.locator(".users button").first).to_contain_text(re.compile(r"^u\d+ place \d+$"))
    form.locator(".users button").first.click()
    expect(page.get_by_role("list", name="History, the last item first").locator(".card").first).to_be_visible()
    form.get_by_label("Photo").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    form.get_by_role("button", name="See where it stands").click()
    expect(form.get_by_role("alert")).to_have_text("x.png is no picture that this browser reads.")
