"""Work for processes that import nothing large."""

import os
import signal
import time
from pathlib import Path

_TOLD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")


def noted(folder: str) -> None:
    """Note what the launcher has told this process; one then kills itself, the other waits to be ended."""
    Path(folder, os.environ["RANK"]).write_text(" ".join(os.environ[name] for name in _TOLD))
    if os.environ["LOCAL_RANK"] == "0":
        signal.pause()
    while len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
