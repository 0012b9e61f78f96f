"""What it costs to normalise each digit over its legal codes instead of all K, for growing (synthetic) catalogues.

A training step's last part, forward and backward: the hierarchical backbone's code decoder. ``legal`` with every row
computed, and with those that have a choice only, where they are few enough, as the backbone does it.
``python benchmarks/code_softmax.py --items 10000 1000000 10000000``
"""

import argparse
import statistics
import time

import torch

from recbole_mgr.generation import PrefixTrie
from recbole_mgr.model.backbone.hierarchical import WORTH_ALL_ROWS
from recbole_mgr.model.backbone.layers import ResidualMLP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000], help="catalogues")
    parser.add_argument("--digits", type=int, default=4, help="D")
    parser.add_argument("--codes", type=int, default=256, help="K of every digit")
    parser.add_argument("--rows", type=int, default=1500, help="targets of a batch")
    parser.add_argument("--hidden", type=int, default=128, help="H")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    print(
        f"{arguments.rows} rows, {arguments.digits} digits of {arguments.codes} codes, H {arguments.hidden}, ", end=""
    )
    print(f"{arguments.device}, {arguments.threads} threads, torch {torch.__version__}\n")
    print("| items | full, ms | legal / full | rows with a choice only / full |\n|---:|---:|---:|---:|")
    for num_items in arguments.items:
        turns = measure(num_items, arguments)
        full = 1000 * statistics.median(turn[0] for turn in turns)
        legal, choices = (statistics.median(turn[way] / turn[0] for turn in turns) for way in (1, 2))
        print(f"| {num_items:,} | {full:.1f} | {legal:.2f} | {choices:.2f} |", flush=True)


def measure(num_items: int, arguments: argparse.Namespace) -> list[tuple[float, ...]]:
    """Seconds of the full softmax, the legal one, and the legal one where there is a choice, in turns."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(arguments.codes, (num_items * 2, arguments.digits), generator=generator)
    codes = codes.unique(dim=0)  # random rows repeat where the catalogue is large
    codes = codes[torch.randperm(len(codes), generator=generator)[:num_items]]
    trie = PrefixTrie(codes, [arguments.codes] * arguments.digits)
    item_ids = torch.randint(1, num_items + 1, (arguments.rows,), generator=generator)
    targets = codes[item_ids - 1].to(arguments.device)
    trie, item_ids = trie.to(arguments.device), item_ids.to(arguments.device)
    hidden = torch.randn(arguments.rows, arguments.hidden, generator=generator).to(arguments.device).requires_grad_()
    size = arguments.hidden
    heads = [
        torch.nn.Sequential(
            ResidualMLP(hidden_size=size, inner_size=4 * size, dropout=0.3),
            torch.nn.LayerNorm(size),
            torch.nn.Linear(size, arguments.codes),
        ).to(arguments.device)
        for _ in range(arguments.digits)
    ]

    def work(code_softmax: str, choices_only: bool = False) -> float:
        started = time.perf_counter()
        path = trie.path(item_ids)
        total = 0.0
        for depth, head in enumerate(heads):
            nodes, chosen, state = path[:, depth], targets[:, depth], hidden
            if choices_only:
                rows = trie.has_choice(depth, nodes).nonzero().squeeze(1)
                if len(rows) <= WORTH_ALL_ROWS * len(nodes):
                    nodes, chosen, state = nodes[rows], chosen[rows], state.index_select(0, rows)
            total = total + trie.log_prob(depth, nodes, head(state), chosen, code_softmax).sum()
        total.backward()
        hidden.grad.sum().item()  # waits for the device
        return time.perf_counter() - started

    def turn() -> tuple[float, ...]:
        return work("full"), work("legal"), work("legal", choices_only=True)

    turn()  # warm-up
    return [turn() for _ in range(arguments.repeats)]


if __name__ == "__main__":
    main()
