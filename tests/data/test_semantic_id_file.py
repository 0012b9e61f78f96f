import numpy as np
import pytest

from recbole_mgr.data.semantic_id_file import TableFile, read_table_file, write_table_file

HEADER = "item_id:token\ttext_codes:token_seq\timage_codes:token_seq"


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "own.tsv"
        path.write_text(text, encoding="utf-8")
        return read_table_file(path)

    return read_text


def test_a_users_own_file(read):
    content = read(f"{HEADER}\nB1\t170 224\t154 0 7\nB2\t1 2\t3 4 5\n")
    assert content.item_tokens == ["B1", "B2"]
    assert list(content.blocks) == ["text", "image"]
    assert content.blocks["text"].tolist() == [[170, 224], [1, 2]]
    assert content.blocks["image"].tolist() == [[154, 0, 7], [3, 4, 5]]
    assert content.dedup is None
    assert content.description is None


def test_windows_files_and_any_order_of_columns(read):
    content = read("\ufeffdedup:token\ttext_codes:token_seq\titem_id:token\r\n1\t3  4\tB 1\r\n0\t3 4\tB2\r\n")
    assert content.item_tokens == ["B 1", "B2"]
    assert content.blocks["text"].tolist() == [[3, 4], [3, 4]]
    assert content.dedup.tolist() == [1, 0]


def test_a_clean_file_reads_as_it_does_line_by_line(read):
    rng = np.random.default_rng(0)
    tokens = [f'ü"{number}' for number in rng.permutation(50)]
    rows = [
        f"{token}\t{a} {b}\t{c}" for token, (a, b, c) in zip(tokens, rng.integers(2**20, size=(50, 3)), strict=True)
    ]
    text = "\n".join([HEADER, *rows]) + "\n"
    clean, careful = read(text), read(text + "\n\n")  # blank lines are for the careful way
    assert clean.item_tokens == careful.item_tokens == tokens
    for modality in ("text", "image"):
        assert clean.blocks[modality].dtype == careful.blocks[modality].dtype == np.int64
        assert np.array_equal(clean.blocks[modality], careful.blocks[modality])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item\ttext_codes:token_seq\n", r"line 1: no column 'item_id:token'"),
        ("item_id:token\n", "line 1: no column of codes"),
        ("item_id:token\ttext_code:token_seq\n", r"line 1: unknown column\(s\) \['text_code:token_seq'\]"),
        (f"{HEADER}\ttext_codes:token_seq\n", "line 1: a column stands twice"),
        (f"{HEADER}\n", "no rows"),
        (f"{HEADER}\na\t1\t2\nb\t1\n", "line 3: 2 columns where the header has 3"),
        (f"{HEADER}\na\t1\t2\na\t1\t2\n", "line 3: item 'a' already stands in line 2"),
        (f"{HEADER}\na\t1 2\t2\nb\t1\t2\n", "line 3, column text_codes:token_seq: 1 codes where 2"),
        (f"{HEADER}\na\t1\t-2\n", "line 2, column image_codes:token_seq: '-2' is no list"),
        (f"{HEADER}\na\t1.0\t2\n", "line 2, column text_codes:token_seq: '1.0' is no list"),
        (f"{HEADER}\na\t1_0\t2\n", "'1_0' is no list"),
        (f"{HEADER}\na\t\u0663\t2\n", "is no list"),
        (f"{HEADER}\na\t\t2\n", "'' is no list"),
        (
            "item_id:token\ttext_codes:token_seq\tdedup:token\na\t1\t1 2\n",
            "column dedup:token: 2 codes where 1",
        ),
    ],
)
def test_errors_name_file_line_and_remedy(read, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read(text)
    assert "own.tsv" in str(error.value)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="semantic_ids: .*none.tsv"):
        read_table_file(tmp_path / "none.tsv")


@pytest.mark.parametrize("text", ["[1, 2]", "digits: []", "a: [", ""])
def test_an_unreadable_description(read, tmp_path, text):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"(?s)own\.yaml: .*remove it"):
        read(f"{HEADER}\na\t1\t2\n")


def test_names_that_would_break_the_file(tmp_path):
    content = TableFile(["a\tb"], {"text": np.array([[1]])}, None, {})
    with pytest.raises(ValueError, match=r"'a\\tb'"):
        write_table_file(tmp_path / "x.tsv", content)
    with pytest.raises(ValueError, match=r"must end in \.tsv"):
        write_table_file(tmp_path / "x.yaml", content)
    assert not list(tmp_path.iterdir())
