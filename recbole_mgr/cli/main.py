"""The command line ``recbole-mgr <command>``; ``run`` is the default."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from contextlib import AbstractContextManager, nullcontext

from recbole_mgr.cleaners import print_line
from recbole_mgr.distributed.environment import is_first_process, started_together
from recbole_mgr.distributed.launch import split_off_launch, start_processes
from recbole_mgr.hints import near_miss

COMMANDS = {
    "run": "train, test and compare models on one data set",
    "recommend": "items for users or histories, by a trained run",
    "evaluate": "test finished runs again, by other metrics, cut-offs or beams, without training",
    "personalize": "one of UniMP's tasks for one user: prompt, pictures and answer",
    "encode": "vectors of a data set's texts or pictures",
    "check": "whether a data set's files are fit for training, and what is wrong with them",
    "prepare": "make atomic files of raw data: Amazon, MovieLens, H&M, your own tables and pictures",
    "convert": "semantic IDs in the JSON that papers publish, to a table that a run reads",
    "collaborative": "vectors of items from interactions, learned by a baseline on the training part",
    "settings": "every setting of a model: default, type, range and meaning",
    "experiment": "make one table as its file says, resuming what is not done",
    "export": "a run as programs that need torch and NumPy alone, with a small runtime beside them",
    "tune": "look for good settings by validation, and test the best",
    "share": "a run as a folder with a model card, or on the Hugging Face hub",
    "serve": "trained runs behind HTTP, for other programs, and pages to try them",
    "view": "pages with pictures: the data, its semantic IDs, results; for a browser, without a server",
    "analyse": "the MGR paper's analyses on finished runs: dominance, overlap, correspondence",
}
_RESUMING = ("run", "encode", "collaborative", "experiment", "tune")
_BY_SEVERAL_PROCESSES = ("run", "recommend", "evaluate", "encode", "experiment", "tune", "analyse")


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: default: ``sys.argv[1:]``. Where they begin with an option, the command is ``run``. With
            ``--traceback`` among them an error shows where it came from.

    Returns:
        Exit status: 0, 2 for wrong input (with one line that says what and the remedy), 130 after Ctrl-C, 141 where
        nobody reads the output any more, or what the command says.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _let_waiting_threads_sleep()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows few characters stops no command
    if arguments in (["--help"], ["-h"]):
        print("recbole-mgr [command] ...; recbole-mgr <command> --help says more. Commands, run being the default:\n")
        print("\n".join(f"  {name:<14} {meaning}" for name, meaning in COMMANDS.items()) + "\n")
    traceback_wanted = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    command = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "run"
    try:
        if command not in COMMANDS:
            known = near_miss(command, COMMANDS) or f"; the commands are {', '.join(COMMANDS)}"
            raise ValueError(f"{command!r} is no command{known}")
        arguments, machine = split_off_launch(arguments)
        if machine is not None and started_together() == 1:
            _refuse_single(command)
            return start_processes(machine, _main_of_process, [command, *arguments])
        with _processes(command):
            return importlib.import_module(f"recbole_mgr.cli.{command}").main(arguments)
    except BrokenPipeError:  # whoever reads our output, such as head, has read enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what Python would still write at its end
        return 141  # as a program that the system ends for it
    except (ValueError, OSError) as error:  # what a user, a disk or the network did
        if traceback_wanted:
            raise
        print_line(f"error: {' '.join(_sentence(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        resume = "; run the same command again to resume" if command in _RESUMING else ""
        if is_first_process():
            print(f"\nstopped{resume}", file=sys.stderr)
        return 130


def _let_waiting_threads_sleep() -> None:
    """Have PyTorch's threads spin 1,000 times and not 300,000 while they wait for each other, unless the user says how.

    On an idle machine both take the same time. Where other programs want the cores too, spinning threads hold back the
    very one that they wait for (``benchmarks/waiting_threads.py``). It has to be said before PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _main_of_process(arguments: list[str]) -> None:
    sys.exit(main(arguments))


def _processes(command: str) -> AbstractContextManager[None]:
    """Joins the processes that torchrun started; refuses them where a command is the work of one."""
    if started_together() == 1:
        return nullcontext()
    _refuse_single(command)
    # DistributedDataParallel warns, on every machine, of parameters that are sometimes unused
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from recbole_mgr.distributed.processes import joined  # imports torch

    return joined()


def _refuse_single(command: str) -> None:
    if command not in _BY_SEVERAL_PROCESSES:
        raise ValueError(
            f"{command}: is the work of one process; start it as one (several share the work of "
            f"{', '.join(_BY_SEVERAL_PROCESSES)})"
        )


def _sentence(error: ValueError | OSError) -> str:
    """What went wrong; an error of the system, which names its file but no remedy, gets one."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    remedy = {
        errno.ENOSPC: "free some space and run the same command again",
        errno.EDQUOT: "free some space and run the same command again",
        errno.EROFS: "choose a folder that can be written",
        errno.EACCES: "give yourself the right to it, or choose another path",
        errno.EPERM: "give yourself the right to it, or choose another path",
        errno.ENOTDIR: "a file stands where a folder belongs; choose another path",
        errno.EISDIR: "a folder stands where a file belongs; choose another path",
        errno.EEXIST: "something stands there already; choose another path",
        errno.ENOENT: "correct the path",
    }.get(error.errno, "run the command again with --traceback to see where")
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; {remedy}"
