"""``recbole-mgr recommend``: what a trained run recommends to users or histories."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mgr.cleaners import print_line
from recbole_mgr.cli.parser import CommandParser, split_names, whole
from recbole_mgr.files import write_text

if TYPE_CHECKING:
    from recbole_mgr.serving import BaseRecommender, Request

_DESCRIPTION = """\
Recommend with a trained run, of one of our models or of RecBole's. The run directory (saved/<data>/<model>/seed-<n>,
or a copy of it) is all that is read.

  recbole-mgr recommend <run_dir> --users ann bob --k 5 --fields brand categories
  recbole-mgr recommend <run_dir> --histories baskets.jsonl --mask-history --output lists.parquet
  torchrun --nproc-per-node 4 --no-python recbole-mgr recommend ...       four processes share the work, one file
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    request = _parse(arguments)

    from recbole_mgr.data.item_file import TITLE_FIELD
    from recbole_mgr.distributed import processes
    from recbole_mgr.serving import load
    from recbole_mgr.serving.requests import read_tokens
    from recbole_mgr.serving.writers import Layout, check_output, open_writer

    if request.output is not None:
        check_output(request.output)  # before the run is loaded
    recommender = load(request.run_dir, device=request.device or processes.own_gpu())
    if request.new_items is not None:
        _add_new_items(recommender, request.new_items)
    fields = tuple(name for name in split_names(request.fields) if name != TITLE_FIELD)  # which is always shown
    layout = Layout(request.ids, fields, recommender.item_fields(fields) if fields else {})
    batches = recommender.stream(
        _requests(request),
        k=request.k,
        mask_history=request.mask_history,
        only=None if request.only is None else read_tokens(request.only),
        beam_size=request.beam_size,
        unknown=request.unknown,
        batch_size=request.batch_size,
    )
    served = asked = 0
    unknown: dict[str, None] = {}
    with open_writer(request.output, layout) as write:
        for batch in batches:
            write(batch)
            unknown.update(dict.fromkeys(batch.unknown))
            asked += len(batch.users)
            served += sum(map(bool, batch.item_ids))
        served, asked, unknown = _of_all(served, asked, unknown)
        if not asked:
            raise ValueError("nobody to recommend to: the list of users or histories is empty")
    if processes.is_owner():
        _report_unknown(list(unknown), request.output)
    if request.output is not None:
        print_line(f"{served} of {asked} users served, written to {request.output}")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr recommend", description=_DESCRIPTION)
    parser.add_run(", of any model")
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--users", nargs="+", metavar="USER", help="users of the training data, by id")
    whom.add_argument("--users-file", type=Path, metavar="FILE", help="user ids, one a line")
    whom.add_argument("--history", nargs="+", metavar="ITEM", help="one history: item ids, oldest first")
    whom.add_argument(
        "--histories",
        type=Path,
        metavar="FILE",
        help="histories, one a line: ids parted by blanks, or (.jsonl, also for ids with blanks) lists or "
        "{user, history} objects",
    )
    parser.add_argument("--k", type=whole(1), default=10, help="items for each (default: 10)")
    parser.add_argument("--mask-history", action="store_true", help="leave out what is in the history")
    parser.add_argument("--only", type=Path, metavar="FILE", help="recommend none but these items, one id a line")
    parser.add_argument("--output", type=Path, metavar="FILE", help=".csv, .jsonl or .parquet (default: the screen)")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--fields",
        nargs="+",
        default=[],
        metavar="NAME",
        help="show these of an item beside the title, e.g. brand categories",
    )
    shown.add_argument("--ids", action="store_true", help="nothing but the items' ids")
    parser.add_argument("--unknown", choices=("skip", "fail"), default="fail", help="ids not known (default: fail)")
    parser.add_argument("--new-items", type=Path, metavar="FOLDER", help="data folder with vectors of items to add")
    parser.add_argument("--beam-size", type=whole(1), default=None, help="width of the search (default: the run's)")
    parser.add_argument("--batch-size", type=whole(1), default=256, help="users at a time (default: 256)")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    return parser.parse_args(arguments)


def _requests(request: argparse.Namespace) -> Iterator[Request]:
    """This process's share: whole batches, the very ones of one process, so that lists do not depend on the number."""
    from recbole_mgr.serving import Request
    from recbole_mgr.serving.requests import read_histories, read_tokens

    if request.history is not None:
        requests = [Request("1", request.history)]
    elif request.users is not None:
        requests = [Request(user) for user in request.users]
    elif request.histories is not None:
        return read_histories(request.histories, _own_entries(request, request.histories))
    else:
        return map(Request, read_tokens(request.users_file, _own_entries(request, request.users_file)))
    own = _own(len(requests), request.batch_size)
    return iter(requests[own.start : own.stop])


def _own_entries(request: argparse.Namespace, file: Path) -> range | None:
    from recbole_mgr.distributed import processes
    from recbole_mgr.serving.requests import count_entries

    return _own(count_entries(file), request.batch_size) if processes.count() > 1 else None


def _own(total: int, batch_size: int) -> range:
    from recbole_mgr.distributed import processes

    batches = processes.share(-(-total // batch_size))
    return range(batches.start * batch_size, batches.stop * batch_size)


def _of_all(served: int, asked: int, unknown: dict[str, None]) -> tuple[int, int, dict[str, None]]:
    """The same of all processes together."""
    from recbole_mgr.distributed import processes

    served_by, asked_by, unknown_to = zip(*processes.gather_for_all((served, asked, unknown)), strict=True)
    return sum(served_by), sum(asked_by), {token: None for tokens in unknown_to for token in tokens}


def _add_new_items(recommender: BaseRecommender, folder: Path) -> None:
    from recbole_mgr.distributed import processes
    from recbole_mgr.serving.new_item_folder import add_items_of_folder

    new = add_items_of_folder(recommender, folder)
    if not processes.is_owner():
        return
    print_line(f"{folder}: {len(new.added)} new items can be recommended", file=sys.stderr)
    for tokens, what in (
        (new.left_out, "left out, for want of a vector"),
        (new.moved, "take the nearest free code, since another item has theirs"),
    ):
        if tokens:
            print_line(f"{folder}: {len(tokens)} {what}: {_first(tokens)}", file=sys.stderr)


def _report_unknown(tokens: list[str], output: Path | None) -> None:
    """Tell of skipped ids: the first ones on the screen, and all of them beside the output."""
    path = output and output.with_name(f"{output.name}.unknown.txt")
    if not tokens:
        if path is not None:
            path.unlink(missing_ok=True)  # of lists that these take the place of
        return
    text = f"unknown ids skipped: {_first(tokens)}"
    if path is not None:
        write_text(path, "".join(f"{token}\n" for token in tokens))
        text += f"; all of them in {path}"
    print_line(text, file=sys.stderr)


def _first(tokens: list[str]) -> str:
    from recbole_mgr.serving.base_recommender import NAMES_SHOWN

    more = len(tokens) - NAMES_SHOWN
    return ", ".join(tokens[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
