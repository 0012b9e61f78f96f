"""What hostile and hurried users give to the commands: a command line, the files that it finds, and what it must name.

``{data}`` is a folder with the good data sets ``tiny`` and ``Shop``, ``{run}`` the run directory of TIGER on tiny,
``{bpr}`` that of BPR, ``{table}`` an experiment's table of both. A command runs in a folder with the files alone.
"""

from __future__ import annotations

from bad_files import Bad
from bad_inputs_of_data import CONVERTING, DATA, ENCODING, PREPARING
from bad_inputs_of_runs import PERSONALIZING, RECOMMENDING, SHARING, VIEWING
from bad_inputs_of_training import ANALYSING, COLLABORATING, EVALUATING, EXPERIMENTING, TRAINING

COMMAND_LINE = [
    Bad("recomend saved", "'recomend' & did you mean 'recommend'"),
    Bad("Run --model BPR", "'Run' is no command & did you mean 'run'"),
    Bad("''", "'' is no command"),
    Bad("TIGER", "'TIGER' is no command & the commands are"),
    Bad("../run", "'../run' is no command"),
    Bad("", "required: --model, --dataset"),
    Bad("--nonsense", "required: --model, --dataset"),
    Bad("settings BRP", "BRP & Did you mean BPR"),
    Bad("settings tiger", "tiger & Did you mean TIGER"),
    Bad("settings TIGER BPR", "unrecognized arguments: BPR"),
    Bad("settings --markdown TIGER", "--markdown & leave TIGER out"),
    Bad("settings --makdown", "--makdown"),
    Bad("settings ../TIGER", "../TIGER"),
]


BAD_INPUTS = {
    "command line": COMMAND_LINE,
    "data": DATA,
    "run": TRAINING,
    "encode": ENCODING,
    "convert": CONVERTING,
    "prepare": PREPARING,
    "recommend": RECOMMENDING,
    "evaluate": EVALUATING,
    "personalize": PERSONALIZING,
    "experiment": EXPERIMENTING,
    "analyse": ANALYSING,
    "collaborative": COLLABORATING,
    "view, serve": VIEWING,
    "share, export": SHARING,
}
