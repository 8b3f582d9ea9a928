"""A scenario: everything that decides a run, validated, immutable, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, model_validator

from clients import UPDATES
from fedbal import overrides as _overrides
from fedbal.comparison.block import CompareBlock
from fedbal.components import Choice, Component
from fedbal.data import DATASETS
from fedbal.data.params import DataBlock, DataParams
from fedbal.document import Document, Problem
from fedbal.models import MODELS
from fedbal.params import Params
from fedbal.scenario_blocks import (
    AutoUpdate,
    ClientBlock,
    CohortBlock,
    DeploymentBlock,
    EvaluationBlock,
    PretrainedBlock,
    RuntimeBlock,
    Seeds,
    SystemsBlock,
)
from fedbal.scenario_errors import check_plain, collect, explain, show
from fedbal.scenario_files import find_scenario, is_shipped, shipped
from fedbal.scenario_schema import TAGS, finish
from fedbal.scenario_tasks import task_problems
from fedbal.track import TRACKERS
from fedbal.yaml_dump import dump
from fedbal.yaml_source import read
from strategies import STRATEGIES

Name = Annotated[str, Field(pattern=r"^[^\s/\\.-][^/\\\x00-\x1f]*$", max_length=100)]

DIGITS = "digits"


class Scenario(Params):
    """One experiment: data, model, strategy, clients, systems, evaluation and where to run it."""

    name: Name = Field(
        description="What run directories are called; no slash, no dot, hyphen or blank first, at most 100 letters."
    )
    seed: Seeds = Field(Seeds(), description="One seed >= 0 for everything, or one for each axis.")
    rounds: Annotated[int, Field(ge=1)] = Field(description="Federated rounds, >= 1.")
    data: DataParams = Field(description="Data set and how it is divided over clients.")
    model: Annotated[Component, Choice(MODELS)] = Field(description="Model that is trained.")
    pretrained: PretrainedBlock | None = Field(
        None, description="Initial tensors from a file, and parts of the model that do not train."
    )
    strategy: Annotated[Component, Choice(STRATEGIES)] = Field(description="Aggregation rule.")
    client: ClientBlock = Field(
        default_factory=ClientBlock, description="What a client does with the model it receives."
    )
    cohort: CohortBlock = Field(default_factory=CohortBlock, description="Clients a round.")
    systems: SystemsBlock = Field(SystemsBlock(), description="Stragglers, dropouts and speeds.")
    evaluation: EvaluationBlock = Field(EvaluationBlock(), description="When and on whom to evaluate.")
    runtime: RuntimeBlock = Field(RuntimeBlock(), description="Where the work is done.")
    deployment: DeploymentBlock | None = Field(
        None, description="Deadlines and the smallest cohort on real devices; a simulation has none."
    )
    compare: CompareBlock | None = Field(
        None, exclude=True, description="What fedbal compare does with this scenario; no part of a run."
    )

    track: Annotated[Component, Choice(TRACKERS)] | None = Field(
        None, description="Who follows the run beside its directory: tensorboard or mlflow; decides nothing."
    )

    @model_validator(mode="after")
    def _update_that_the_strategy_asks_for(self, info: ValidationInfo) -> Scenario:
        if isinstance(self.client.update, AutoUpdate):
            ask = getattr(self.strategy, "client_update", None)
            wanted: dict[str, Any] = ask() if ask else {"name": "standard"}
            update = UPDATES.params_model(wanted["name"]).model_validate(wanted)
            object.__setattr__(self, "client", self.client.model_copy(update={"update": update}))
        return self

    def resolved(self) -> dict[str, Any]:
        """Return plain values with every default filled in, without keys that are not set and ``compare``."""
        return {
            key: _name_first(value) for key, value in self.model_dump(mode="json", exclude_none=True).items()
        }

    def to_yaml(self) -> str:
        """Return the resolved scenario as YAML; loading it gives an equal scenario, but for ``compare``."""
        return dump(self.resolved())


def load(source: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Load a scenario from a file or by the name of a shipped one.

    Parameters
    ----------
    source : str or Path
        Path of a YAML file, or a shipped name (``quickstart``).
    overrides : sequence of str
        Changes such as ``"strategy.a=0.3"``; the right side is YAML. Setting a block replaces it, setting a
        key changes it; later ones win.

    Raises
    ------
    UsageError
        Every problem of the file and the overrides, each with file, line, key, value and what is allowed.

    Examples
    --------
    >>> load("quickstart", ["strategy=fedavg", "rounds=3"]).strategy.name
    'fedavg'
    """
    path = find_scenario(source)
    return _build(read(path), overrides, path.resolve().parent, shipped_file=is_shipped(path))


def from_mapping(
    raw: Mapping[str, Any], *, overrides: Sequence[str] = (), base: str | Path | None = None
) -> Scenario:
    """Build a scenario from plain values instead of a file.

    Parameters
    ----------
    raw : Mapping
        What the YAML file would hold.
    overrides : sequence of str
        As in :func:`load`.
    base : str or Path, optional
        Folder that relative paths start from; the current folder if left out.
    """
    document = check_plain(raw, "scenario")
    return _build(document, overrides, Path(base).resolve() if base else Path.cwd())


def one_by_one(scenario: Scenario) -> Scenario:
    """Return the scenario for a grid that brings one client at a time: Flower's own, or devices."""
    runtime = scenario.runtime.model_copy(update={"vectorize": False, "compile": False})
    return scenario.model_copy(update={"runtime": runtime})


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of scenario files, for editors."""
    return finish(Scenario.model_json_schema(mode="validation"))


def _build(
    document: Document, overrides: Sequence[str], base: Path, *, shipped_file: bool = False
) -> Scenario:
    for text in overrides:
        _overrides.apply(document, text)
    for block, key in (("data", "path"), ("pretrained", "path"), ("runtime", "costs")):
        _absolute_path(document, block, key, base, shipped_file)
    scenario = None
    try:
        scenario = Scenario.model_validate(document.value, context={"base": str(base)})
    except ValidationError as error:
        document.problems.extend(explain(error, document, json_schema()))
        _check_keys_of_every_dataset(document)
    if scenario is not None:
        document.problems.extend(_cross_checks(scenario, document))
    collect(document)
    assert scenario is not None
    return scenario


def _name_first(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _name_first(value[key]) for key in sorted(value, key=lambda key: key not in TAGS)}


def _check_keys_of_every_dataset(document: Document) -> None:
    """Check what all data sets share, when the one that was asked for is unknown."""
    data = document.value.get("data") if isinstance(document.value, dict) else None
    if not isinstance(data, dict) or data.get("dataset", DIGITS) in list(DATASETS):
        return
    sources = [DATASETS.params_model(name) for name in DATASETS]
    known = {key for source in sources for key in source.model_fields}
    strange = [key for key in data if key not in known]
    common = {key: data[key] for key in data if key in DataBlock.model_fields or key in strange}
    copy = Document({**document.value, "data": {**common, "dataset": DIGITS}}, document.marks)
    try:
        Scenario.model_validate(copy.value)
    except ValidationError as error:
        found = explain(error, copy, json_schema())
        document.problems.extend(problem for problem in found if problem.location[:1] == ("data",))


def _absolute_path(document: Document, block: str, key: str, base: Path, shipped_file: bool) -> None:
    """Make the path of a block mean the same from every folder.

    A file names data beside itself, a command line names data from the current folder; a shipped scenario
    whose data are not shipped means the user's current folder.
    """
    data = document.value.get(block) if isinstance(document.value, dict) else None
    if not isinstance(data, dict):
        return
    given = data.get(key)
    if not isinstance(given, str) or not given or (key == "costs" and given.startswith("sha256:")):
        return
    places = [base, Path.cwd()]
    if document.mark((block, key)).startswith("--set"):
        places = [Path.cwd(), base]
    try:
        candidates = [(place / Path(given).expanduser()).resolve() for place in places]
        if data.get("dataset") == "huggingface" and not any(path.exists() for path in candidates):
            return  # A name on the hub.
        fallback = candidates[1] if shipped_file and places[0] == base else candidates[0]
        data[key] = str(next((path for path in candidates if path.exists()), fallback))
    except (OSError, ValueError, RuntimeError) as error:
        location = (block, key)
        message = f"got {show(given)}; no usable path ({error}); correct it."
        document.problems.append(Problem(document.mark(location), location, message))


def _cross_checks(scenario: Scenario, document: Document) -> list[Problem]:
    """Check what concerns more than one block and is known before the data are read."""
    assert isinstance(scenario.data, DataBlock)
    source = str(getattr(scenario.data, "dataset", "")) or type(scenario.data).__name__
    problems = task_problems(scenario, scenario.data.task, source, document)
    clients = getattr(scenario.data.partition, "clients", None)
    size = scenario.cohort.size
    if clients is not None and size is not None and size > clients:
        location: tuple[str, ...] = ("cohort", "size")
        message = (
            f"got {size}; at most the number of clients, data.partition.clients = {clients}; "
            "lower the one or raise the other."
        )
        problems.append(Problem(document.mark(location), location, message))
    recorded = scenario.runtime.record_updates
    late = [one for one in (recorded and recorded.rounds) or () if one > scenario.rounds]
    if late:
        location = ("runtime", "record_updates", "rounds")
        message = f"got {late[0]}; at most rounds = {scenario.rounds}; lower the one or raise the other."
        problems.append(Problem(document.mark(location), location, message))
    return problems


__all__ = ["Scenario", "find_scenario", "from_mapping", "json_schema", "load", "one_by_one", "shipped"]
