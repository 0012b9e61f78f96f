"""Cost of the prefix trie and of the beam search over it, on random semantic IDs; prints a Markdown table.

The model is a fake step that returns the same random logits at once, so a search's time is the trie's and
the ranking's own. Run: ``python benchmarks/trie.py --items 1000000 10000000``.
"""

import argparse
import time

import torch

from recbole_mgr.generation import PrefixTrie, beam_search


def measure(num_items: int, args: argparse.Namespace) -> tuple[float, ...]:
    """Build seconds, bytes per item, milliseconds per step of a search, with a model's last layer, and with histories
    masked."""
    generator = torch.Generator().manual_seed(args.seed)
    codes = torch.randint(args.codes, (num_items, args.digits), generator=generator)
    started = time.perf_counter()
    trie = PrefixTrie(codes, [args.codes] * args.digits)
    build_seconds = time.perf_counter() - started
    bytes_per_item = sum(buffer.nbytes for buffer in trie.buffers()) / num_items
    del codes

    trie = trie.to(args.device)
    logits = torch.randn((args.batch, args.beam, args.codes), generator=generator).to(args.device)
    exclude = torch.randint(1, num_items + 1, (args.batch, args.history), generator=generator).to(args.device)

    def step(depth, nodes, codes, parents, state):
        return logits[:, : 1 if codes is None else codes.shape[1]], None

    hidden = torch.randn((args.batch, args.beam, args.hidden), generator=generator).to(args.device)
    head = torch.randn((args.hidden, args.codes), generator=generator).to(args.device)

    def step_with_head(depth, nodes, codes, parents, state):
        return hidden[:, : 1 if codes is None else codes.shape[1]] @ head, None

    def milliseconds_per_step(step, exclude=None):
        def search():
            found = beam_search(step, trie, batch_size=args.batch, k=args.beam, beam_width=args.beam, exclude=exclude)
            return found.scores.sum().item()  # waits for the device

        search()
        started = time.perf_counter()
        for _ in range(args.repeats):
            search()
        return (time.perf_counter() - started) * 1000 / (args.repeats * args.digits)

    times = (milliseconds_per_step(step), milliseconds_per_step(step_with_head), milliseconds_per_step(step, exclude))
    return build_seconds, bytes_per_item, *times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000_000], help="sizes of the catalogue")
    parser.add_argument("--digits", type=int, default=8, help="D")
    parser.add_argument("--codes", type=int, default=256, help="K of every digit")
    parser.add_argument("--batch", type=int, default=256, help="users per search")
    parser.add_argument("--beam", type=int, default=20, help="beam width and length of the lists")
    parser.add_argument("--hidden", type=int, default=128, help="H of the linear head")
    parser.add_argument("--history", type=int, default=50, help="excluded items per user")
    parser.add_argument("--repeats", type=int, default=5, help="searches to average over")
    parser.add_argument("--device", default="cpu", help="where to search; the trie is built on the CPU")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--seed", type=int, default=0, help="of codes, logits and histories")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    print(
        f"{args.digits} digits x {args.codes} codes, beam {args.beam}, batch {args.batch}, "
        f"{args.history} excluded items, {args.device}, {args.threads} threads, torch {torch.__version__}\n"
    )
    print("| items | build s | bytes/item | ms/step | ms/step with a linear head | ms/step with exclusion |")
    print("|---:|---:|---:|---:|---:|---:|")
    for num_items in args.items:
        build_seconds, bytes_per_item, *steps = measure(num_items, args)
        times = " | ".join(f"{milliseconds:.1f}" for milliseconds in steps)
        print(f"| {num_items:,} | {build_seconds:.1f} | {bytes_per_item:.1f} | {times} |")


if __name__ == "__main__":
    main()
