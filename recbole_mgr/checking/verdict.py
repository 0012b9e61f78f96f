"""What a check found: facts by section, problems with their remedies, and the models that can run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recbole_mgr.cleaners import for_terminal
from recbole_mgr.data.table import Fault

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)


class Problem(NamedTuple):
    """One thing to look at.

    Attributes:
        level: ``error`` (stops a run or makes its results wrong), ``warning`` (likely not meant so), ``note``.
        where: file, and line where there is one.
        what: what is the matter.
        remedy: what to do, a sentence.
    """

    level: str
    where: str
    what: str
    remedy: str


class Part(NamedTuple):
    """Facts of one section of a check, name -> plain value, and its problems."""

    facts: dict[str, Any]
    problems: list[Problem]


def found_faults(path: Path, faults: Sequence[Fault]) -> list[Problem]:
    """What a reader says of a file's rows, as problems: those that it refuses are errors."""
    problems = []
    for fault in faults:
        where = f"{path.name}, line {fault.line}" if fault.line else path.name
        lines = f" ({fault.lines:,} such lines)" if fault.lines else ""
        problems.append(Problem(ERROR if fault.fatal else WARNING, where, fault.what + lines, fault.remedy))
    return problems


def match_problems(
    where: str, wanted: Collection[str], found: Collection[str], *, lacking: str, remedy: str, level: str = WARNING
) -> list[Problem]:
    """How many of the ids of ``.inter`` a file has: none is an error, which shows an id of each side; where some are
    missing, a problem of ``level``.

    Args:
        where: the file.
        wanted: ids of ``.inter``.
        found: ids of the file.
        lacking: what is the matter with an id that is missing.
        remedy: what to do where some are missing.
    """
    missing = set(wanted) - set(found)
    if not missing:
        return []
    share = f"{len(missing):,} of {len(wanted):,}"
    if found and len(missing) == len(set(wanted)):
        what = f"{share} {lacking}: none matches; .inter has {min(missing)!r}, this file has {min(found)!r}"
        remedy = "write the ids alike in both files: leading zeros, upper and lower case, folders before a name"
        return [Problem(ERROR, where, what, remedy)]
    return [Problem(level, where, f"{share} {lacking}, for example {min(missing)!r}", remedy)]


class ModelNeeds(NamedTuple):
    """Whether a model can run on the data.

    Attributes:
        ready: with which arguments; empty = not at all.
        missing: what is not there and how to get it.
    """

    ready: list[str]
    missing: list[str]


class Verdict(NamedTuple):
    """Everything a check found.

    Attributes:
        label: the data set's name as results carry it.
        sections: section -> facts.
        models: model -> what it needs.
        problems: errors first.
    """

    label: str
    sections: dict[str, dict[str, Any]]
    models: dict[str, ModelNeeds]
    problems: list[Problem]

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return all(problem.level != ERROR for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "label": self.label,
            "passed": self.passed,
            "sections": self.sections,
            "models": {name: needs._asdict() for name, needs in self.models.items()},
            "problems": [problem._asdict() for problem in self.problems],
        }

    def format(self) -> str:
        """As a page to read; what stands in the files cannot forge a line of it."""
        lines = [self.label]
        for section, facts in self.sections.items():
            lines += ["", section]
            width = max((len(name) for name in facts), default=0)
            lines += [f"  {name:<{width}}  {_shown(value)}" for name, value in facts.items()]
        lines += ["", "models"]
        for name, needs in self.models.items():
            ready = "ready: " + "; ".join(needs.ready) if needs.ready else "not ready"
            lines.append(f"  {name:<9} {ready}")
            lines += [f"  {'':<9} missing: {missing}" for missing in needs.missing]
        if self.problems:
            lines += ["", "problems"]
            for problem in self.problems:
                lines.append(f"  {problem.level:<8} {problem.where}: {problem.what}")
                lines.append(f"  {'':<8} -> {problem.remedy}")
        counts = {level: sum(problem.level == level for problem in self.problems) for level in LEVELS}
        said = ", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items())
        lines += ["", f"{'passed' if self.passed else 'FAILED'}: {said}"]
        return "\n".join(map(for_terminal, lines))


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    return str(value)
