"""``recbole-mgr export``: a trained run as programs that need torch and NumPy alone."""

from __future__ import annotations

from pathlib import Path

from recbole_mgr.cli.parser import CommandParser

_DESCRIPTION = """\
Write a trained run of TIGER, MGREF, MGRLF or MGRLFpp as torch.export programs, its semantic IDs and their trie as
arrays, and a runtime of a hundred lines beside them. Whoever gets the folder needs torch and NumPy, and nothing of us.

  recbole-mgr export saved/<data>/<model>/seed-2020 my-export

  from runtime import ExportedRun            # with my-export on the path
  ExportedRun("my-export").recommend([["item1", "item2"]], k=5)
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = CommandParser(prog="recbole-mgr export", description=_DESCRIPTION)
    parser.add_run(" of one of our models")
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--onnx", action="store_true", help="write ONNX files, too; needs the extra onnx")
    asked = parser.parse_args(arguments)

    from recbole_mgr.serving.exporting import export_run_programs  # imports torch

    folder = export_run_programs(asked.run_dir, asked.folder, onnx=asked.onnx)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"Written to {folder} ({size / 2**20:.1f} MiB); {folder / 'runtime.py'} says how to use it")
    return 0
