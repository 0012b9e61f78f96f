"""``recbole-mgr prepare``: raw data to atomic files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from recbole_mgr.cli.parser import CommandParser, add_format_options, format_of, number, whole
from recbole_mgr.preparation.batches import Source
from recbole_mgr.preparation.download import DownloadLimits
from recbole_mgr.preparation.pipeline import Settings, prepare
from recbole_mgr.preparation.sources.amazon_2014 import Amazon2014
from recbole_mgr.preparation.sources.amazon_2018 import Amazon2018
from recbole_mgr.preparation.sources.amazon_2023 import Amazon2023
from recbole_mgr.preparation.sources.h_and_m import HAndM
from recbole_mgr.preparation.sources.movielens import MovieLens1m, MovieLens100k
from recbole_mgr.preparation.sources.raw_files import RawFolder
from recbole_mgr.preparation.sources.table import Columns, Form, Table

_DESCRIPTION = """\
Make atomic files of raw data: <output>/<name>/<name>.inter, .item, .review, images/ and .provenance.yaml.

  recbole-mgr prepare table orders.csv --items products.csv --images photos --name Shop
  recbole-mgr prepare amazon-2014 raw --category Beauty --download
  recbole-mgr prepare ml-1m raw --images posters

Steps, in this order: broken rows skipped, --min-rating, --duplicates, items without picture dropped (with
--require-images), k-core. Run the same command again to go on after an interruption.
recbole-mgr prepare <source> --help lists a source's options.
"""
_AMAZON = {"amazon-2014": Amazon2014, "amazon-2018": Amazon2018, "amazon-2023": Amazon2023}
_MOVIELENS = {"ml-100k": MovieLens100k, "ml-1m": MovieLens1m}


def main(arguments: list[str]) -> int:
    """Run the command; what has been downloaded is kept, so that the same command again goes on."""
    request = _parser().parse_args(arguments)
    limits = DownloadLimits(parallel=request.parallel, timeout=request.timeout)
    settings = Settings(
        name=request.default_name(request) if request.name is None else request.name,
        output=request.output,
        user_core=request.k_core if request.user_core is None else request.user_core,
        item_core=request.k_core if request.item_core is None else request.item_core,
        min_rating=request.min_rating,
        duplicates=request.duplicates,
        images="none" if request.no_images else "require" if request.require_images else "keep",
        picture_folder=request.images,
        mirror=request.mirror,
        reviews=not request.no_reviews,
        broken_share=request.broken_share,
        limits=limits,
    )
    folder = prepare(request.source(request, limits), settings)
    print(f"\n{folder} is ready")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(prog="recbole-mgr prepare", description=_DESCRIPTION)
    sources = parser.add_subparsers(required=True, metavar="source", dest="format")
    common = _common_options()

    def add(name: str, meaning: str, source: Callable[..., Source], default_name: Callable[..., str]) -> CommandParser:
        options = sources.add_parser(name, help=meaning, description=meaning, parents=[common])
        options.set_defaults(source=source, default_name=default_name)
        return options

    for name, edition in _AMAZON.items():
        options = add(
            name,
            f"Amazon reviews, edition {name[-4:]}: one category",
            lambda request, limits, edition=edition: edition(_raw(request, limits), request.category),
            lambda request: request.category,
        )
        options.add_argument("--category", required=True, help="as in the file names, e.g. Beauty or All_Beauty")
        _add_raw(options)
    for name, edition in _MOVIELENS.items():
        options = add(
            name,
            "MovieLens; posters named by movie id in images/ or posters/, or --images",
            lambda request, limits, edition=edition: edition(_raw(request, limits)),
            lambda request: request.format,
        )
        _add_raw(options)
    options = add(
        "h-and-m", "H&M from Kaggle, unpacked", lambda request, limits: HAndM(request.raw), lambda request: "h-and-m"
    )
    options.add_argument("raw", type=Path, metavar="FOLDER", help="with transactions_train.csv and articles.csv")
    options = add(
        "atomic",
        "RecBole atomic files, to add pictures to or to filter",
        _atomic_folder,
        lambda request: request.raw.resolve().name,
    )
    options.add_argument("raw", type=Path, metavar="FOLDER", help="<name>/ with <name>.inter")
    add_format_options(options)
    options = add(
        "table",
        "your own CSV, TSV or Parquet files",
        lambda request, limits: Table(request.raw, request.items, _columns(request), _form(request)),
        lambda request: request.raw.name.partition(".")[0],
    )
    options.add_argument("raw", type=Path, metavar="FILE", help="interactions, one a row")
    options.add_argument("--items", type=Path, metavar="FILE", help="items, one a row")
    for meaning in ("user", "item", "time", "rating", "review", "title", "price", "image"):
        default = Columns._field_defaults[meaning]
        options.add_argument(f"--{meaning}", default=default, metavar="COLUMN", help=f"default: {default}")
    options.add_argument("--time-unit", choices=["s", "ms", "us", "ns"], default="s", help="of times that are numbers")
    options.add_argument(
        "--time-format",
        metavar="FORMAT",
        help="of dates, e.g. %%d/%%m/%%Y %%H:%%M (default: as the dates show)",
    )
    options.add_argument("--decimal", choices=[".", ","], help="before decimals (default: as the numbers show)")
    options.add_argument("--encoding", help="of text files, e.g. cp1252 (default: UTF-8, or as a byte order mark says)")
    options.add_argument(
        "--quotes",
        choices=["checked", "trusted", "none"],
        default="checked",
        help="marks around values: checked that they close (default), trusted, or none: characters like any other",
    )
    return parser


def _atomic_folder(request: argparse.Namespace, limits: DownloadLimits) -> Source:
    from recbole_mgr.preparation.sources.atomic import AtomicFolder  # imports torch, which no help needs

    return AtomicFolder(request.raw, format_of(request))


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", help="of the data set (default: made from the source)")
    common.add_argument("--output", type=Path, default=Path("data"), metavar="FOLDER", help="default: data")
    common.add_argument(
        "--k-core",
        type=whole(0),
        default=5,
        metavar="K",
        help="fewest interactions of users and items (default 5; 0: all)",
    )
    common.add_argument("--user-core", type=whole(0), metavar="K", help="fewest of a user (default: as --k-core)")
    common.add_argument("--item-core", type=whole(0), metavar="K", help="fewest of an item (default: as --k-core)")
    common.add_argument("--min-rating", type=number(), metavar="R", help="drop interactions rated lower")
    common.add_argument(
        "--duplicates",
        choices=["all", "copies", "first", "last"],
        default="all",
        help="of a user's interactions with one item: all (default), all but exact copies, the first, the last",
    )
    common.add_argument("--images", type=Path, metavar="FOLDER", help="pictures, named by item id")
    common.add_argument("--mirror", metavar="FOLDER|URL", help="pictures, named as the URLs in the data end")
    pictures = common.add_mutually_exclusive_group()
    pictures.add_argument("--require-images", action="store_true", help="drop items without picture, before the k-core")
    pictures.add_argument("--no-images", action="store_true", help="neither look for pictures nor download any")
    common.add_argument("--no-reviews", action="store_true", help="write no review texts")
    common.add_argument(
        "--broken-share",
        type=number(least=0, most=1),
        default=0.01,
        metavar="S",
        help="share of a file's rows, or of a column's numbers, that may be broken (default 0.01)",
    )
    common.add_argument(
        "--parallel", type=whole(1, 256), default=16, metavar="N", help="downloads at a time (default 16)"
    )
    common.add_argument(
        "--timeout", type=number(above=0), default=20, metavar="SECONDS", help="of a silent download (default 20)"
    )
    return common


def _add_raw(options: argparse.ArgumentParser) -> None:
    options.add_argument("raw", type=Path, metavar="FOLDER", help="holds the raw files, or gets them")
    options.add_argument(
        "--download",
        nargs="?",
        const=True,
        metavar="URL",
        help="fetch missing raw files, from a mirror if a URL is given",
    )


def _raw(request: argparse.Namespace, limits: DownloadLimits) -> RawFolder:
    base = request.download if isinstance(request.download, str) else None
    return RawFolder(request.raw, bool(request.download), base, limits)


def _columns(request: argparse.Namespace) -> Columns:
    return Columns(*(getattr(request, name) for name in Columns._fields))


def _form(request: argparse.Namespace) -> Form:
    return Form(*(getattr(request, name) for name in Form._fields))
