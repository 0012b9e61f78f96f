"""What the processes of these tests do."""

import io
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed
from torch import Tensor

from recbole_mgr.cli.main import main
from recbole_mgr.distributed import processes
from recbole_mgr.integration import repairs
from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.histories import histories_of
from recbole_mgr.integration.parallel import ParallelStep
from recbole_mgr.integration.seen_items import mark_seen_items
from recbole_mgr.integration.trainer import comparable


def exchanged(total: int) -> dict[str, Any]:
    """What a process gets from the others."""
    rank, share = processes.rank(), processes.share(total)
    log = Path("entered.txt")
    with processes.owner_first():
        with log.open("a") as file:
            file.write(f"{rank}\n")
        first = [int(line) for line in log.read_text().split()]
    processes.wait()
    with processes.alone():
        processes.wait()  # for nobody, although there are others
        alone = processes.rank(), processes.count(), processes.gather(rank)
    return {
        "rank": rank,
        "share": list(share),
        "gathered": processes.gather(rank),
        "in order": processes.all_in_order(10 * index for index in share),
        "broadcast": processes.broadcast(rank),
        "sum": processes.sum_of_all(rank),
        "owner": processes.on_owner(lambda: f"done by {processes.rank()}"),
        "first": first,
        "alone": alone,
    }


def failing(where: str) -> None:
    """Raise a ValueError in one process or in all of them."""
    processes.wait()  # all have joined; one that is still joining when another ends is the launcher's to end
    if where == "owner's work":
        processes.on_owner(_raise)
    if where == "owner first":
        with processes.owner_first():
            _raise()
    if where == "everywhere" or processes.rank() == 2:
        _raise()
    processes.wait()  # for one that does not come


def _raise() -> None:
    raise ValueError("it is wrong")


def prepared(name: str, settings: dict) -> tuple:
    """A trainer of a model, and its loaders."""
    config = make_config(name, "tiny", [], settings)
    init_seed(7, True)
    dataset = create_dataset(config)
    histories = histories_of(dataset)
    train, valid, test = data_preparation(config, dataset)
    mark_seen_items(histories, valid._dataset, test._dataset)
    model = config.model_class(config, train._dataset)
    return comparable(get_trainer(config["MODEL_TYPE"], name))(config, model), train, valid, test


def trained(name: str, settings: dict) -> dict[str, Any]:
    """Train a model and evaluate it.

    Returns:
        The losses of every step, the metrics, the owner's ranked lists, the final weights, and of how many numbers
        this process keeps the parameters.
    """
    trainer, train, valid, test = prepared(name, settings)
    losses, check_nan = [], trainer._check_nan

    def noted(loss):
        losses.append(loss.item())
        check_nan(loss)

    trainer._check_nan = noted
    score, best = trainer.fit(train, valid, verbose=False)
    own = sum(_own_part(parameter).numel() for parameter in trainer.model.parameters())
    weights = {key: _whole(value).clone().numpy() for key, value in trainer.model.state_dict().items()}
    metrics = dict(trainer.evaluate(test, load_best_model=False))
    ranking = trainer.eval_collector.ranking if processes.is_owner() else None
    result = {"losses": losses, "weights": weights, "valid": (score, best), "test": metrics, "ranking": ranking}
    return result | {"own parameters": own}


def _own_part(tensor: Tensor) -> Tensor:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def run_by_recbole(arguments: tuple) -> dict | None:
    """What RecBole's ``run`` does in each process: its ``run_recbole``, joined; the result is the owner's."""
    answers = SimpleQueue()
    repairs._run_joined(answers, arguments)
    return None if answers.empty() else answers.get()


def commanded(arguments: list[str], killed_at: int | None = None) -> tuple[int, str, str]:
    """Run a command; at the loss ``killed_at`` the last process kills itself.

    Returns:
        The exit status, what was printed and what was complained of.
    """
    said, complained = io.StringIO(), io.StringIO()
    calls, loss = [], ParallelStep.loss

    def mortal_loss(*args):
        calls.append(1)
        if len(calls) == killed_at and processes.rank() == processes.count() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(*args)

    ParallelStep.loss = mortal_loss
    with redirect_stdout(said), redirect_stderr(complained):
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = ended.code
    return status, said.getvalue(), complained.getvalue()
