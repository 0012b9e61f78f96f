"""The verdict on data that is right, and on each way it can be wrong."""

import json

import numpy as np
import pytest
from PIL import Image

from recbole_mgr.cli.main import main
from recbole_mgr.semantic_id.table import SemanticIdTable

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
NOW = 1_600_000_000


@pytest.fixture
def folder(tmp_path):
    """Six users who take items a to e; titles and pictures of all, text vectors of all but e."""
    folder = tmp_path / "Shop"
    (folder / "images").mkdir(parents=True)
    rows = [f"u{user}\t{item}\t{NOW + user * 100 + place}" for user in range(6) for place, item in enumerate("abcde")]
    write(folder, "inter", [HEADER, *rows])
    write(
        folder, "item", ["item_id:token\ttitle:token_seq\timage:token", *(f"{i}\tsoap {i}\t{i}.png" for i in "abcde")]
    )
    for item in "abcde":
        Image.new("RGB", (4, 4)).save(folder / "images" / f"{item}.png")
    write_vectors(folder, "text", "abcd", np.random.default_rng(0).normal(size=(4, 3)))
    write(folder, "provenance.yaml", ["source: made up", "synthetic: true", "users: 6", "items: 5", "interactions: 30"])
    return folder


def write(folder, suffix, lines):
    (folder / f"Shop.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def append(folder, suffix, *lines):
    with open(folder / f"Shop.{suffix}", "a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_vectors(folder, modality, items, vectors):
    np.save(folder / f"Shop.{modality}.npy", np.asarray(vectors, dtype=np.float16))
    write(folder, f"{modality}.ids", items)


def check(folder, *arguments):
    """Exit status and verdict."""
    report = folder.parent / "verdict.json"
    status = main(["check", "Shop", "--data_path", str(folder.parent), "--json", str(report), *arguments])
    return status, json.loads(report.read_text(encoding="utf-8"))


def problems(verdict, level):
    return [f"{problem['where']}: {problem['what']}" for problem in verdict["problems"] if problem["level"] == level]


def test_good_data_passes_and_its_numbers_are_right(folder, capsys):
    status, verdict = check(folder, "--k", "6")
    assert (status, verdict["passed"], verdict["label"]) == (0, True, "Shop (synthetic sample)")
    assert not problems(verdict, "error") + problems(verdict, "warning")
    facts = verdict["sections"]["interactions"]
    assert [facts[name] for name in ("interactions", "users", "items")] == [30, 6, 5]
    assert facts["per item"] == {"min": 6, "median": 6.0, "mean": 6.0, "max": 6}
    assert [facts["users below 6"], facts["items below 6"], facts["users below 4"]] == [6, 0, 0]
    assert facts["time"] == "2020-09-13 12:26 to 2020-09-13 12:35"
    assert verdict["sections"]["items"]["pictures"] == {"named": 5, "there": 5, "opened": 5, "unreadable": 0}
    assert verdict["sections"]["vectors: text"]["items of .inter without vector"] == 1
    assert "passed: 0 errors, 0 warnings, 1 note" in capsys.readouterr().out


def test_what_each_model_can_use(folder):
    models = check(folder)[1]["models"]
    assert models["TIGER"] == {"ready": ["modalities=text"], "missing": []}
    assert not models["MGRLFpp"]["ready"]
    how = f"recbole-mgr encode Shop --data_path {folder.parent} --modality image"
    assert models["MGRLFpp"]["missing"] == [f"vectors of two modalities: {how}"]
    assert "--patches" in models["UniMP"]["missing"][0]
    write_vectors(folder, "image", "abcde", np.eye(5))
    write_vectors(folder, "grid", "abcde", np.random.default_rng(0).normal(size=(5, 2, 3)))
    write(folder, "semantic_ids.tsv", ["item_id:token\tfused_codes:token_seq", *(f"{item}\t0 1" for item in "abcde")])
    status, verdict = check(folder)
    models = verdict["models"]
    assert status == 0
    assert models["TIGER"]["ready"] == ["modalities=text", "modalities=image"]  # not the grid
    assert models["MGREF"]["ready"] == ["modalities=text+image", f"semantic_ids={folder / 'Shop.semantic_ids.tsv'}"]
    assert models["MGRLFpp"]["ready"] == ["modalities=text+image"]
    fields = "text_fields={'title': 10} or other columns, since Shop.item has no brand, categories"
    assert models["UniMP"]["ready"] == [f"pictures from grid, image, {fields}"]
    assert models["UniMP"]["missing"] == [
        "a column of ratings in Shop.inter, for the task preference only",
        "Shop.review, for the task explanation only",
    ]
    rows = (folder / "Shop.inter").read_text(encoding="utf-8").splitlines()
    write(folder, "inter", [f"{rows[0]}\trating:float", *(f"{row}\t3" for row in rows[1:])])
    assert check(folder)[1]["models"]["UniMP"]["missing"] == ["Shop.review, for the task explanation only"]
    assert verdict["sections"]["semantic IDs"]["fused"]["colliding items"] == 5


def test_copies_ties_order_and_the_future_are_counted(folder):
    append(folder, "inter", f"u0\ta\t{NOW}", f"u0\tb\t{NOW + 9e8:.0f}", f"u1\ta\t{NOW + 102}")
    status, verdict = check(folder)
    facts = verdict["sections"]["interactions"]
    assert status == 0
    assert facts["identical rows"] == 1
    assert facts["repeated user-item pairs"] == 3
    assert facts["in the future"] == 1
    assert facts["successive interactions of one time"] == 2
    assert facts["rows before an earlier row's time"] == 2
    warnings = problems(verdict, "warning")
    assert any("1 rows are a copy" in warning for warning in warnings)
    assert any("1 interactions lie in the future (up to 2049" in warning for warning in warnings)
    assert any("says 30 interactions, .inter has 33" in warning for warning in warnings)


BAD_ROWS = {
    "too many values": ("u9\ta\t1\tx", "line 32: more than 3 values (1 such lines)"),
    "no user": ("\ta\t1", "line 32: user_id is empty"),
    "a missing word": ("u9\tNA\t1", "line 32: item_id is empty or a word"),
    "no time": ("u9\ta\tnoon", "line 32: timestamp is not a finite number"),
    "infinite time": ("u9\ta\tinf", "line 32: timestamp is not a finite number"),
    "too few values": ("u9\ta", "line 32: timestamp is not a finite number"),
    "a quotation mark": ('u9\t"a\t1', "line 32: a value begins with a quotation mark"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_bad_rows_are_errors_with_their_line_and_nothing_else_is_hidden(folder, kind):
    row, message = BAD_ROWS[kind]
    append(folder, "inter", row)
    status, verdict = check(folder)
    assert status == 1
    assert any(message in error for error in problems(verdict, "error")), problems(verdict, "error")
    assert verdict["sections"]["interactions"]["users"] >= 6  # the rest is still described
    assert "vectors: text" in verdict["sections"]


@pytest.mark.parametrize(
    "word", ["", "NA", "n/a", "null", "None", "nan", "<NA>", "#N/A N/A", "-1.#IND", "na", "Null", "0"]
)
def test_what_is_an_error_here_is_one_for_the_loader(folder, word):
    from recbole_mgr.data.interactions import check_interactions

    append(folder, "inter", f"u9\t{word}\t1")
    try:
        check_interactions(folder / "Shop.inter")
        refused = False
    except ValueError:
        refused = True
    assert check(folder)[0] == int(refused)


def test_several_errors_are_collected(folder):
    append(folder, "inter", "u9\t\t1", "u9\ta\tx")
    append(folder, "item", "a\tsoap\ta.png", "f\tsoap")
    np.save(folder / "Shop.text.npy", np.full((4, 3), np.nan, dtype=np.float16))
    write(folder, "semantic_ids.tsv", ["item_id:token\ttext_codes:token_seq", "a\t0 x"])
    write(folder, "provenance.yaml", ["- a list"])
    status, verdict = check(folder)
    errors = "\n".join(problems(verdict, "error"))
    assert status == 1
    for message in (
        "item_id is empty",
        "timestamp is not a finite number",
        "the item 'a' stands there a second time",
        "NaN or infinity",
        "no list of integers",
        "expected 'key: value' lines",
    ):
        assert message in errors
    levels = [problem["level"] for problem in verdict["problems"]]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "the file is empty"),
        (b"user_id,item_id,timestamp\n", "is not written name:type with a type of"),
        (b"user_id:token\titem_id:token\n", "line 1: needs a column timestamp:float"),
        (HEADER.encode() + b"\n", "holds no interactions"),
        (HEADER.encode() + b"\nu\ta\t1\nu\t\xff\t2\n", "Shop.inter, line 3: not UTF-8"),
        (HEADER.encode() + b"\nu\ta\t1\n", "fewer than 4 interactions"),
    ],
)
def test_unusable_interactions_end_in_a_verdict(folder, content, message):
    (folder / "Shop.inter").unlink()
    if content is not None:
        (folder / "Shop.inter").write_bytes(content)
    status, verdict = check(folder)
    assert status == 1
    assert any(message in error for error in problems(verdict, "error")), problems(verdict, "error")
    assert not any(needs["ready"] for needs in verdict["models"].values())


def test_windows_line_ends_and_blank_lines_are_no_problem(folder):
    text = (folder / "Shop.inter").read_text().replace("\n", "\r\n") + "\r\n"
    (folder / "Shop.inter").write_bytes(text.encode())
    status, verdict = check(folder)
    assert (status, verdict["sections"]["interactions"]["interactions"]) == (0, 30)


def test_items_and_pictures(folder):
    append(folder, "inter", f"u0\tnew\t{NOW + 50}")
    append(folder, "item", "z\t\tabsent.png", "y\tsoap y\t")
    (folder / "images/b.png").write_bytes(b"no picture")
    status, verdict = check(folder, "--pictures", "all")
    facts = verdict["sections"]["items"]
    assert status == 0
    assert [facts[name] for name in ("items", "not in .inter", "of .inter, not here", "without title")] == [7, 2, 1, 1]
    assert facts["pictures"] == {"named": 6, "there": 5, "opened": 5, "unreadable": 1}
    warnings = "\n".join(problems(verdict, "warning"))
    for message in ("1 of 6 items of .inter have no row, for example 'new'", "absent.png", "b.png", "no title"):
        assert message in warnings
    assert check(folder, "--pictures", "0")[1]["sections"]["items"]["pictures"]["opened"] == 0


def test_odd_vectors_are_counted(folder):
    vectors = [[0, 0, 0], [2, 2, 2], [1, 2, 3], [1, 2, 3]]
    write_vectors(folder, "text", "abcx", vectors)
    status, verdict = check(folder)
    facts = verdict["sections"]["vectors: text"]
    assert status == 0
    assert [facts[name] for name in ("zero rows", "constant rows", "rows equal to another")] == [1, 2, 1]
    assert [facts["items of .inter without vector"], facts["vectors of other items"]] == [2, 1]
    np.testing.assert_allclose(facts["norm"]["max"], np.sqrt(14), rtol=1e-3)
    assert sum("vectors" in warning for warning in problems(verdict, "warning")) == 3
    write_vectors(folder, "text", "wxyz", vectors)
    assert any(
        "none matches; .inter has 'a', this file has 'w'" in error for error in problems(check(folder)[1], "error")
    )


def test_text_form_features_are_found(folder):
    write(
        folder,
        "audio",
        ["audio_item_id:token\taudio_vector:float_seq", *(f"{item}\t1 {ord(item)}" for item in "abcde")],
    )
    status, verdict = check(folder)
    assert (status, verdict["sections"]["vectors: audio"]["shape"]) == (0, "5 x 2")


def test_targets_that_repeat_the_history_and_copies_of_the_row_before(folder):
    """u0's last row is a copy of the one before, u1's an item from before, u2's something new; u9 has one row only."""
    append(folder, "inter", f"u0\te\t{NOW + 4}", f"u1\ta\t{NOW + 200}", f"u2\tf\t{NOW + 300}", f"u9\ta\t{NOW}")
    _, verdict = check(folder)
    assert verdict["sections"]["interactions"]["test targets"] == {"users": 6, "repeated": 2, "copies": 1}
    (warning,) = [problem for problem in verdict["problems"] if "test targets" in problem["what"]]
    assert warning["level"] == "warning" and "33.3% of 6 test targets" in warning["what"]
    assert f"recbole-mgr prepare atomic {folder} --name Shop-new --duplicates first" in warning["remedy"]


@pytest.mark.parametrize(
    ("time", "unit"),
    [
        (lambda t: t * 1000, "milliseconds"),
        (lambda t: t * 10**6, "microseconds"),
        (lambda t: t * 10**9, "nanoseconds"),
        (lambda t: t + 62_135_596_800, "seconds since year 1"),
        (lambda t: (t + 62_135_596_800) * 10**7, "ticks of 100 nanoseconds since year 1"),
        (lambda t: t // 86_400 + 719_163, "days since year 1"),
        (lambda t: 20_200_913 + t - NOW, "dates written as YYYYMMDD"),
    ],
)
def test_times_in_another_unit_are_named(folder, time, unit):
    rows = [f"u{user}\t{item}\t{time(NOW + place)}" for user in range(6) for place, item in enumerate("abcde")]
    write(folder, "inter", [HEADER, *rows])
    assert f"Shop.inter: times look like {unit}, not like unix seconds" in problems(check(folder)[1], "warning")


def test_positions_as_times_are_left_in_peace(folder):
    rows = [f"u{user}\t{item}\t{place}" for user in range(6) for place, item in enumerate("abcde")]
    write(folder, "inter", [HEADER, *rows])
    assert not any("times" in warning for warning in problems(check(folder)[1], "warning"))


@pytest.mark.parametrize("time", [0, -62_135_596_800, -2_208_988_800])
def test_missing_dates_are_counted(folder, time):
    append(folder, "inter", f"u0\ta\t{time}")
    status, verdict = check(folder)
    assert status == 0
    assert any("1 interactions lie before 1971" in warning for warning in problems(verdict, "warning"))


def test_a_file_of_missing_dates_alone_is_told(folder):
    write(folder, "inter", [HEADER, *(f"u{user}\t{item}\t-62135596800" for user in range(6) for item in "abcde")])
    (warning,) = [text for text in problems(check(folder)[1], "warning") if "lie before 1971" in text]
    assert "30 interactions" in warning and "from 0001-01-01" in warning


def test_names_encoding_and_separator_as_in_the_settings(folder):
    """The files of the fixture in German: every section has its numbers."""
    for suffix, names in {"inter": ("kunde", "artikel", "zeit"), "item": ("artikel", "title", "image")}.items():
        lines = (folder / f"Shop.{suffix}").read_text().replace("soap a", "Seife für alle").splitlines()
        kinds = [column.partition(":")[2] for column in lines[0].split("\t")]
        lines[0] = "\t".join(f"{name}:{kind}" for name, kind in zip(names, kinds, strict=True))
        (folder / f"Shop.{suffix}").write_bytes("\n".join(lines).replace("\t", ";").encode("cp1252"))
    settings = {"USER_ID_FIELD": "kunde", "ITEM_ID_FIELD": "artikel", "TIME_FIELD": "zeit", "encoding": "cp1252"}
    given = [f"--{key}={value}" for key, value in settings.items()] + ["--field_separator=;"]
    status, verdict = check(folder, *given)
    assert (status, problems(verdict, "error") + problems(verdict, "warning")) == (0, [])
    assert verdict["sections"]["interactions"]["interactions"] == 30
    assert verdict["sections"]["items"]["pictures"]["there"] == 5
    in_a_file = folder.parent / "shop.yaml"
    in_a_file.write_text("\n".join(f"{key}: '{value}'" for key, value in {**settings, "field_separator": ";"}.items()))
    assert check(folder, "--config_files", str(in_a_file))[1] == verdict
    assert check(folder)[0] == 1


def test_pictures_that_lead_elsewhere_and_names_that_do_not_meet(folder):
    lines = (folder / "Shop.item").read_text().replace("\ta.png", "\t../../secret.png").splitlines()
    write(folder, "item", lines)
    status, verdict = check(folder)
    assert status == 0
    assert any("1 pictures lead out of images/" in warning for warning in problems(verdict, "warning"))
    write(folder, "item", [line.replace(".png", ".jpg") for line in lines])
    status, verdict = check(folder)
    assert status == 1
    (error,) = problems(verdict, "error")
    assert "4 of 5 pictures are not in images/, for example 'b.jpg'; the folder has '" in error


def test_collisions_are_said(folder):
    rows = [f"{item}\t0 {place // 4}" for place, item in enumerate("abcde")]
    write(folder, "semantic_ids.tsv", ["item_id:token\ttext_codes:token_seq", *rows])
    status, verdict = check(folder)
    assert verdict["sections"]["semantic IDs"]["text"]["colliding items"] == 4
    (warning,) = [line for line in problems(verdict, "warning") if "semantic_ids" in line]
    assert "4 of 5 items share all text codes with another, up to 4 one ID" in warning


def test_every_error_and_warning_has_a_remedy(folder):
    append(folder, "inter", "u9\tNA\t1", f"u0\ta\t{NOW * 3}")
    append(folder, "item", "a\tsoap\ta.png", "x\t\tgone.png")
    _, verdict = check(folder)
    assert all(problem["remedy"] for problem in verdict["problems"])


def test_plots_hold_every_section(folder, capsys):
    status, _ = check(folder, "--plots", str(folder.parent / "plots"))
    assert status == 0
    pages = {path.stem for path in (folder.parent / "plots").glob("*.html")}
    assert pages == {"history_lengths", "item_popularity", "interactions_over_time", "norms_text"}
    assert (folder.parent / "plots/plotly.min.js").is_file()  # no network is needed to look at them


def test_wrong_usage_is_2(folder, capsys):
    assert main(["check", "Nothing", "--data_path", str(folder.parent)]) == 2
    assert main(["check", "Shop", "--data_path", str(folder.parent), "--pictures", "some"]) == 2
    assert "--pictures some: expected a number or all" in capsys.readouterr().err


def test_semantic_ids_of_another_description_are_told_as_a_run_tells_them(folder):
    table = SemanticIdTable.from_blocks({"text": np.array([[0], [1], [2], [3], [4]])}, list("abcde"))
    table.save(folder / "Shop.semantic_ids.tsv")
    assert not [error for error in problems(check(folder)[1], "error") if "semantic_ids" in error]
    rows = (folder / "Shop.semantic_ids.tsv").read_text().replace("e\t4", "e\t5")
    (folder / "Shop.semantic_ids.tsv").write_text(rows)
    (error,) = (error for error in problems(check(folder)[1], "error") if "semantic_ids" in error)
    assert "the content is not the one that Shop.semantic_ids.yaml describes" in error
