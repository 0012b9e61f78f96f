"""Encode a data set's text and pictures with the download-free encoders, into a folder of its own.

python benchmarks/encode_features.py --source <folder>/ml-100k --target <other folder>/ml-100k
"""

from __future__ import annotations

import argparse
import csv
import shutil
import time
from pathlib import Path

from recbole_mgr.encoding.classical import encode_images, encode_text
from recbole_mgr.encoding.feature_file import write_features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with <name>.inter, <name>.item, images/")
    parser.add_argument("--target", type=Path, required=True, help="folder of the same name to write")
    parser.add_argument("--dim", type=int, default=128, help="values per vector")
    arguments = parser.parse_args()
    name = arguments.source.name
    arguments.target.mkdir(parents=True, exist_ok=True)
    for suffix in ("inter", "item", "provenance.yaml"):
        shutil.copy(arguments.source / f"{name}.{suffix}", arguments.target)

    with open(arguments.source / f"{name}.item", encoding="utf-8", newline="") as file:
        items = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    tokens = [item["item_id:token"] for item in items]
    fields = [field for field in items[0] if field.split(":")[0] not in ("item_id", "image")]

    started = time.perf_counter()
    vectors = encode_text([" ".join(item[field] or "" for field in fields) for item in items], dim=arguments.dim)
    write_features(arguments.target, name, "text", tokens, vectors)
    print(f"text: {len(tokens)} items, {time.perf_counter() - started:.1f} s")

    started = time.perf_counter()
    pictures = [arguments.source / "images" / (item["image:token"] or "") for item in items]
    pictures = [picture if picture.is_file() else None for picture in pictures]
    encoded = encode_images(pictures, dim=arguments.dim)
    present = [token for token, there in zip(tokens, encoded.present, strict=True) if there]
    write_features(arguments.target, name, "image", present, encoded.vectors[encoded.present])
    print(f"image: {len(present)} of {len(tokens)} items, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
