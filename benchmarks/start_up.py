"""CPU seconds until Python has imported the package or printed its help, beside importing torch; a Markdown table.

Run: ``python benchmarks/start_up.py``. Each line is the median of several fresh processes.
"""

import argparse
import resource
import statistics
import subprocess
import sys

COMMANDS = {
    "import torch (baseline)": ["-c", "import torch"],
    "import recbole_mgr": ["-c", "import recbole_mgr"],
    "recbole-mgr --help": ["-m", "recbole_mgr", "--help"],
    "import recbole_mgr, recbole.quick_start": ["-c", "import recbole_mgr, recbole.quick_start"],
    "python alone": ["-c", ""],
}


def cpu_seconds(arguments: list[str]) -> float:
    """Of one process, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="processes a line")
    repeats = parser.parse_args().repeats
    seconds = {name: statistics.median(cpu_seconds(words) for _ in range(repeats)) for name, words in COMMANDS.items()}
    baseline = next(iter(seconds.values()))
    print("| | CPU s | ratio to importing torch |\n|---|---:|---:|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {value / baseline:.3f} |")


if __name__ == "__main__":
    main()
