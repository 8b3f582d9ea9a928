"""One site in one run: its clients, built from the scenario once and kept between messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from flwr.app import Context, Error, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp

from fedbal import protocol
from fedbal.assembly import virtual_clients
from fedbal.data.federation import Federation, load_federation
from fedbal.deployment.order import EVALUATION, JOIN, ORDER, REPORT, Order, Report, Seat
from fedbal.deployment.own_data import OwnData, own_federation
from fedbal.deployment.states import SiteStates
from fedbal.determinism import pin
from fedbal.errors import FedbalError, UsageError
from fedbal.fingerprints import of_packages
from fedbal.grid import flower
from fedbal.grid.work import NodeDirectory, node_of
from fedbal.scenario import Scenario


@dataclass(frozen=True)
class SiteOptions:
    """What a site is told on its own command line.

    Attributes
    ----------
    name : str
        Its name.
    state : Path
        Folder for client state.
    data : Path, optional
        Its own data; None: it plays a client of the scenario's partition.
    partition : int
        Which one; -1: the coordinator chooses.
    device : str
        Where it trains: cpu, cuda or cuda:N.
    components : tuple of str
        Code beside fedbal's own that a scenario may name.
    """

    name: str
    state: Path
    data: Path | None = None
    partition: int = -1
    device: str = "cpu"
    components: tuple[str, ...] = ()


class RunSeat:
    """Answers the messages of one scenario.

    Parameters
    ----------
    scenario : Scenario
        What the run's bundle brought.
    options : SiteOptions
        What the site was told.
    """

    def __init__(self, scenario: Scenario, options: SiteOptions) -> None:
        self._scenario = scenario
        self._options = options
        pin(scenario.runtime.threads)
        flower.become()
        self._own = None if options.data is None else OwnData(scenario, options.data)
        self._federation: Federation | None = None
        self._app: ClientApp | None = None
        self._seat: Seat | None = None

    def answer(self, kind: str, group: str, content: RecordDict) -> RecordDict | Error:
        """Answer one message."""
        order = Order.of(content)
        if order is None:
            return Error(2, "the message has no order of a fedbal coordinator")
        own = RecordDict({name: record for name, record in content.items() if name != ORDER})
        if kind == JOIN:
            return RecordDict({REPORT: self._join(order.seat).record()})
        self._sit(order.seat)
        return self._work(kind, group, own, order)

    def _join(self, seat: Seat) -> Report:
        options = self._options
        report = Report(
            name=options.name, partition=options.partition, own=self._own is not None, versions=of_packages()
        )
        try:
            if self._own is None:
                self._require_consent()
                return report
            if not seat.classes:
                return replace(report, **self._own.described())
            self._sit(seat)
            assert self._federation is not None
            federation = self._federation
            counts = federation.label_counts()[0].tolist()
            return replace(
                report,
                classes=seat.classes,
                features=seat.features,
                shape=seat.shape,
                dtype=str(federation.dataset.x.dtype),
                samples=int(federation.train.sizes[0]),
                validation=int(federation.validation.sizes[0]),
                test=int(federation.client_test.sizes[0]),
                counts=tuple(counts) if federation.counted_classes else None,
            )
        except FedbalError as error:
            return replace(report, problem=str(error))

    def _require_consent(self) -> None:
        """Refuse to read a file of this machine that the coordinator names and the owner does not."""
        path = getattr(self._scenario.data, "path", None)
        if path is not None and self._options.partition < 0:
            raise UsageError(
                f"the scenario reads {path}, and nothing on {self._options.name} says that it may; start the site "
                "with --data, or with --partition K if it shall play client K of that file."
            )

    def _sit(self, seat: Seat) -> None:
        """Build data and clients for a seat, unless this is the one that is built."""
        if seat == self._seat:
            return
        scenario, options = self._scenario, self._options
        if self._own is not None:
            self._federation = own_federation(self._own, seat, options.name, scenario)
        elif self._federation is None:
            self._require_consent()
            self._federation = load_federation(scenario.data, scenario.seed.partition)
        self._app = virtual_clients(scenario, self._federation, options.device)()
        self._seat = seat

    def _work(self, kind: str, group: str, content: RecordDict, order: Order) -> RecordDict | Error:
        app = self._app
        assert self._federation is not None
        assert app is not None
        client = max(0, order.seat.partition)
        node = node_of(client)
        names = self._federation.names
        config = NodeDirectory(len(names), names.__getitem__).config(node)
        states = SiteStates(self._options.state, order.run)
        before = states.at(order.version)

        def ask(what: str, question: RecordDict) -> tuple[Message, RecordDict]:
            context = Context(flower.RUN_ID, node, config, protocol.copy_content(before), {})
            message = Message(question, node, what, group_id=group)
            reply = app(message, context)
            return reply, context.state

        scores = RecordDict()
        if order.evaluate:
            scored, _ = ask(MessageType.EVALUATE, protocol.copy_content(content))
            if scored.has_content():
                scores = scored.content
        reply, after = ask(kind, content)
        if reply.has_error():
            return reply.error
        if kind == MessageType.TRAIN:
            number = int(protocol.config_of(content).get(protocol.SERVER_ROUND, 0))  # type: ignore[arg-type]
            states.put(number, order.version, order.saved, after)
        answer = RecordDict(dict(reply.content.items()))
        for name, record in scores.items():
            answer[EVALUATION + name] = record
        return answer
