"""The parts of a run, built from a scenario: data, clients, rule, sampler, systems, evaluation."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp.strategy import Strategy

from clients import LOSSES, SCHEDULES
from clients.augment import Augmentation
from clients.losses import reads_counts
from clients.params import CustomOptimizerParams, OptimizerParams
from clients.preprocess import Preprocess
from clients.training import LocalPlan, StepOptions
from fedbal.backend import Load, cuda_is_there
from fedbal.cost_file import digest
from fedbal.data.federation import Federation, load_federation
from fedbal.determinism import prepare
from fedbal.dissimilarity import GradientProbe
from fedbal.engine import choose_engine
from fedbal.errors import UsageError
from fedbal.evaluation import GlobalTest
from fedbal.exchange import choose_exchange
from fedbal.foreign import state_of, with_defaults
from fedbal.grid.work import FIRST_NODE, NodeDirectory, client_of
from fedbal.groups import ClassGroups, class_groups
from fedbal.loop import Schedule
from fedbal.measures import measures_for
from fedbal.params import CustomParams
from fedbal.population import Population
from fedbal.pretrained import read_pretrained, require_trainable
from fedbal.protocol import LABEL_COUNTS, Arrays
from fedbal.reference import centralised, pooled, pools_clients
from fedbal.scenario import Scenario
from fedbal.seeding import stream
from fedbal.systems import Systems, draw_speeds
from fedbal.virtual import VirtualClients, create, test_split
from strategies import AVAILABILITIES, STRATEGIES
from strategies.base import AggregationRule
from strategies.cohort import CohortSampler, Uniform
from strategies.report import ServerContext

MANY_TESTERS = 10_000
"""With more evaluating clients a run says that it might ask fewer."""


@dataclass(frozen=True)
class Assembly:
    """Everything that a run is made of, before a grid is started."""

    federation: Federation
    clients: VirtualClients
    strategy: Strategy
    sampler: CohortSampler
    population: Population
    directory: NodeDirectory
    systems: Systems
    schedule: Schedule
    test: GlobalTest
    initial: Arrays
    """The tensors that travel, before the first round."""
    complete: Arrays
    """All tensors of the model, before the first round."""
    load: Load
    engine: dict[str, Any]
    notes: tuple[str, ...]
    """What a user should know before the first round."""
    asks_counts: bool
    """Whether the loss reads the class counts of all clients."""
    user_files: tuple[Path, ...]

    @property
    def cohort(self) -> int:
        """Clients of a round."""
        return self.load.cohort

    @cached_property
    def initial_strategy_state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The rule's state before the first round."""
        return state_of(self.strategy)

    @property
    def plan_fingerprint(self) -> list[int | None]:
        """What decides minibatches besides streams and sample counts."""
        plan, augment = self.clients.plan, self.clients.options.augment
        changes = [augment.crop_padding, int(augment.horizontal_flip)] if augment.active else []
        return [plan.batch_size, plan.epochs, plan.steps, *changes]

    def probe(self) -> GradientProbe:
        """Return what measures how much the gradients of all clients with data differ."""
        clients = self.clients if cuda_is_there() else replace(self.clients, device="cpu")
        data_of = clients.data_of()
        members = [data_of.client(self.population.client(node)) for node in self.population.nodes]
        counts = self.federation.class_counts().tolist()
        return GradientProbe(clients.trainer(), members, counts)

    def whole(self, shared: Arrays) -> Arrays:
        """Return a model with its frozen tensors put back, in the order of its ``state_dict``."""
        return {name: shared.get(name, value) for name, value in self.complete.items()}


def assemble(scenario: Scenario, device: str, federation: Federation | None = None) -> Assembly:
    """Build the parts of a scenario.

    Parameters
    ----------
    scenario : Scenario
        What to build.
    device : str
        Where models are trained and evaluated.
    federation : Federation, optional
        Its divided data where they are there already.

    Raises
    ------
    UsageError
        Data are missing or unusable, a component refuses its parameters, or the cohort is too large.
    """
    prepare(device, scenario.runtime.precision)
    # A driver without a card evaluates on a worker, and what it measures itself on the CPU.
    here = device if cuda_is_there() else "cpu"
    if scenario.evaluation.dissimilarity:
        refuse_preprocessing(scenario, "evaluation.dissimilarity")
    if federation is None:
        federation = load_federation(scenario.data, scenario.seed.partition)
    if pools_clients(scenario):
        scenario, federation = centralised(scenario, federation), pooled(federation)
    dataset = federation.dataset
    client = scenario.client
    loss = create(LOSSES, client.loss)
    if not federation.counted_classes and reads_counts(loss):
        raise UsageError(
            f"client.loss: {client.loss.name} reads class counts, and masks (segmentation) have none; choose "
            "cross_entropy, focal or dice."
        )
    clients = virtual_clients(scenario, federation, device)
    network = clients.network()
    complete = {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}
    initial = {name: complete[name] for name in require_trainable(network, scenario.model.name)}
    population = _population(scenario, federation)
    sampler = _sampler(scenario, federation, population)
    plan = clients.plan
    sizes = federation.train.sizes
    work = sizes * plan.epochs if plan.epochs else np.full(len(sizes), plan.units * plan.batch_size)
    trained = sizes[sizes > 0]
    steps = float(np.ceil(trained / plan.batch_size).mean() * plan.epochs) if plan.epochs else plan.units
    cohort = _cohort(sampler, population)
    posthoc = scenario.evaluation.posthoc
    user = (
        *(scenario.strategy, scenario.model, client.update, client.loss, client.optimizer),
        *(clients.schedule, scenario.cohort.availability),
    )
    parameters = sum(value.size for value in complete.values())
    load = Load(scenario.rounds, cohort, steps, plan.batch_size, parameters)
    trainer = replace(clients, device="cpu").trainer()
    load = replace(load, pure=device == "cpu" and trainer.pure)
    choice = choose_engine(scenario, trainer, dataset.input_shape, load, device)
    clients = replace(clients, engine=choice.engine)
    strategy = make_strategy(
        scenario, dataset.num_classes, len(population.nodes), counted=bool(federation.counted_classes)
    )
    travelling = sum(value.size for value in initial.values())
    return Assembly(
        federation=federation,
        clients=clients,
        strategy=strategy,
        sampler=sampler,
        population=population,
        directory=NodeDirectory(federation.num_clients, _KeyOf(federation.names)),
        systems=_systems(scenario, work.astype(np.float64), plan.units),
        schedule=_schedule(scenario),
        test=GlobalTest(
            network.to(here),
            test_split(federation, here),
            measures_for(dataset.task, dataset.num_classes),
            _groups(scenario, federation),
            None if posthoc is None else posthoc.tau,
        ),
        initial=initial,
        complete=complete,
        load=load,
        engine={
            **asdict(choice.engine),
            "threads": scenario.runtime.threads,
            "device": device.split(":")[0],
            "precision": scenario.runtime.precision,
            **({} if scenario.runtime.costs is None else {"costs": digest(scenario.runtime.costs)}),
            "exchange": choose_exchange(strategy, travelling, cohort, choice.engine),
        },
        notes=(*choice.notes, *_evaluation_notes(scenario, population)),
        asks_counts=getattr(loss, "prior_of", "local") == "global",
        user_files=tuple(
            Path(part.name.rpartition(":")[0])
            for part in user
            if isinstance(part, CustomParams) and ".py:" in part.name
        ),
    )


def refuse_preprocessing(scenario: Scenario, what: str) -> None:
    """Refuse what reads the clients' rows beside their messages, which alone bring the statistics."""
    if scenario.data.preprocess is not None:
        raise UsageError(
            f"{what} measures rows as they are stored and cannot follow data.preprocess; leave one of them out, "
            "or store prepared rows."
        )


def virtual_clients(scenario: Scenario, federation: Federation, device: str) -> VirtualClients:
    """Return what makes the clients of a scenario in any process."""
    client = scenario.client
    augment = Augmentation(**client.augment.kwargs())
    augment.require_images(federation.dataset.input_shape)
    assert isinstance(client.optimizer, OptimizerParams | CustomOptimizerParams)
    schedule = client.optimizer.schedule
    create(SCHEDULES, schedule)
    pretrained = scenario.pretrained
    return VirtualClients(
        federation=federation,
        model=scenario.model,
        update=client.update,
        loss=client.loss,
        optimizer=client.optimizer,
        plan=LocalPlan(client.batch_size, client.local_epochs, client.local_steps),
        init_seed=scenario.seed.init,
        training_seed=scenario.seed.training,
        device=device,
        rounds=scenario.rounds,
        schedule=schedule,
        options=StepOptions(client.clip_norm, augment, scenario.seed.training, scenario.runtime.precision),
        pretrained=None if pretrained is None else read_pretrained(**pretrained.kwargs()),
        preprocess=_preprocess(scenario, federation),
        codec=client.codec,
    )


def _preprocess(scenario: Scenario, federation: Federation) -> Preprocess | None:
    """Return how rows are prepared, or None; nothing is ever missing in an image."""
    chosen, dataset = scenario.data.preprocess, federation.dataset
    if chosen is None:
        return None
    impute = "none" if len(dataset.input_shape) == 3 else chosen.impute
    if impute == chosen.scale == "none":
        return None
    return Preprocess(impute, chosen.scale, chosen.fit, dataset.features)


@dataclass(frozen=True)
class _KeyOf:
    """Client index to key; a class because it travels to workers, without the data."""

    names: Sequence[str]

    def __call__(self, client: int) -> str:
        return self.names[client]


def _population(scenario: Scenario, federation: Federation) -> Population:
    sizes = federation.train.sizes
    with_data = np.flatnonzero(sizes > 0)
    if not with_data.size:
        raise UsageError(
            "no client has any training sample; lower data.validation, data.client_test or clients."
        )
    held_out = np.array(federation.unseen, np.int64)
    unseen = frozenset((held_out[federation.client_test.sizes[held_out] > 0] + FIRST_NODE).tolist())
    testers = np.setdiff1d(np.flatnonzero(federation.client_test.sizes > 0), held_out)
    wanted = scenario.evaluation.clients
    if isinstance(wanted, int):
        order = stream(scenario.seed.training, "evaluation").permutation(len(testers))
        testers = np.sort(testers[order[:wanted]])
    return Population(
        nodes=_nodes_of(with_data),
        testers=_nodes_of(testers),
        client=client_of,
        keys=_KeyOf(federation.names),
        samples=sizes,
        unseen=unseen,
    )


def _evaluation_notes(scenario: Scenario, population: Population) -> list[str]:
    if scenario.evaluation.clients != "all" or len(population.testers) <= MANY_TESTERS:
        return []
    return [
        f"evaluation.clients is all: {len(population.testers)} clients evaluate in every evaluated round; cohort, "
        "or a number, takes less time"
    ]


def _nodes_of(clients: np.ndarray[Any, np.dtype[np.int64]]) -> Sequence[int]:
    """Return node ids in 8 bytes each; a list of Python integers takes five times that."""
    return array("q", (clients + FIRST_NODE).astype(np.int64).tobytes())


def _groups(scenario: Scenario, federation: Federation) -> ClassGroups | None:
    """Return many, medium and few; None where rows are not counted by class."""
    if not federation.counted_classes:
        return None
    chosen = scenario.evaluation.groups
    low, high = chosen.thresholds
    first, second = chosen.shares
    counts = federation.class_counts(clean=True)
    return class_groups(counts, chosen.rule, (low, high), (first, second))


def _sampler(scenario: Scenario, federation: Federation, population: Population) -> CohortSampler:
    """Return the sampler; what availability reads of the clients is made only where it is read."""
    cohort = scenario.cohort
    availability = create(AVAILABILITIES, cohort.availability)
    if isinstance(availability, Uniform):
        return CohortSampler(scenario.seed.training, cohort.fraction, cohort.size)
    members = np.flatnonzero(population.samples > 0)
    counts = federation.label_counts()[members]
    return CohortSampler(
        *(scenario.seed.training, cohort.fraction, cohort.size, availability),
        sizes=population.samples[members],
        classes=counts.argmax(axis=1) if counts.shape[1] else np.zeros(len(members), np.int64),
    )


def _cohort(sampler: CohortSampler, population: Population) -> int:
    try:
        return sampler.count(len(population.nodes))
    except ValueError as error:
        raise UsageError(f"cohort.size: {error}; lower it, or make more clients.") from error


def make_strategy(
    scenario: Scenario, num_classes: int, num_clients: int, *, counted: bool = True
) -> Strategy:
    """Return the rule; ``counted`` tells whether clients can count their rows by class."""
    choice = scenario.strategy
    if isinstance(choice, CustomParams):
        arguments = with_defaults(STRATEGIES.load(choice.name), choice.kwargs())
        choice = CustomParams(name=choice.name, **arguments)
    strategy: Strategy = create(STRATEGIES, choice)
    if isinstance(strategy, AggregationRule):
        if not counted and LABEL_COUNTS in strategy.asks:
            raise UsageError(
                f"strategy: {choice.name} asks clients for {LABEL_COUNTS}, and masks (segmentation) have none; "
                "choose a rule or weighting that needs none, such as fedavg or fedce."
            )
        rate = getattr(scenario.client.optimizer, "lr", None)
        strategy.context = ServerContext(
            num_classes, num_clients, rate, scenario.client.batch_size, scenario.seed.training
        )
        target = getattr(strategy.weigher, "target", None)
        if target is not None and len(target) != num_classes:
            key = "strategy.target" if hasattr(strategy, "target") else "strategy.weighting.target"
            raise UsageError(
                f"{key} has {len(target)} numbers, the data have {num_classes} classes; give one a class."
            )
    return strategy


def _systems(scenario: Scenario, work: np.ndarray[Any, np.dtype[np.float64]], units: int) -> Systems:
    systems, seed = scenario.systems, scenario.seed.training
    speeds = draw_speeds(seed, len(work), systems.speed.samples_per_second, systems.speed.sigma)
    return Systems(
        seed=seed,
        units=units,
        work=work,
        speeds=speeds,
        fraction=systems.stragglers.fraction,
        policy=systems.stragglers.policy,
        dropout=systems.client_dropout,
    )


def _schedule(scenario: Scenario) -> Schedule:
    evaluation = scenario.evaluation
    return Schedule(
        rounds=scenario.rounds,
        every=evaluation.every,
        cohort_evaluates=evaluation.clients == "cohort",
        min_client_samples=evaluation.min_client_samples,
    )
