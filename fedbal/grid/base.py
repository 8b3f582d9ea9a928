"""What both grids share: node ids, messages in, replies out in client order, client state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from flwr.app import ArrayRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from fedbal.grid import flower
from fedbal.grid.chunks import Chunks
from fedbal.grid.lean import CohortTask
from fedbal.grid.state import ClientStates
from fedbal.grid.work import NodeDirectory, Outcome, Task
from strategies.order import CohortOrder
from strategies.stacked import StackedReplies

if TYPE_CHECKING:
    from clients.data import RowTransform
    from fedbal.evaluation import Predictions
    from fedbal.protocol import Arrays


class VirtualGrid(Grid):
    """A Flower grid of virtual clients.

    Replies come in the order of node ids, whatever finished first. ``timeout`` is not enforced: virtual
    clients do not hang on a network.

    Parameters
    ----------
    directory : NodeDirectory
        The population.
    nodes : sequence of int
        Node ids that can be asked: the clients that have data.
    chunks : Chunks, optional
        Which clients are trained at once; None: each by itself.

    Attributes
    ----------
    states : ClientStates
        Client state; without a round loop that commits, every write simply stays visible.
    seconds : dict
        Node id to the wall time of its latest message among those that were pushed together last.
    notes : list of str
        What a user should know about the machines, in order; whoever reads them may clear them.
    reduced : int, optional
        Fewest clients that a worker trains at once since its device was full; None: none ever was.
    """

    def __init__(self, directory: NodeDirectory, nodes: Sequence[int], chunks: Chunks | None = None) -> None:
        flower.become()
        self.directory = directory
        self.states = ClientStates()
        self.seconds: dict[int, float] = {}
        self.notes: list[str] = []
        self.reduced: int | None = None
        self._nodes = nodes
        self._chunks = chunks
        self._run = flower.empty_run()
        self._replies: dict[str, Message] = {}
        self._next_id = 0

    @abstractmethod
    def execute(self, tasks: Sequence[Task], payloads: Sequence[ArrayRecord]) -> list[Outcome]:
        """Run the tasks in any order and return their outcomes in the order of ``tasks``.

        ``payloads`` are the distinct array records that the tasks refer to; no two tasks are of one client.
        """

    def chunks_of(self, tasks: Sequence[Task]) -> list[list[int]]:
        """Return the positions of the tasks that are run together, each of them once."""
        if self._chunks is None:
            return [[position] for position in range(len(tasks))]
        return self._chunks.of_tasks(tasks)

    @property
    def chunks(self) -> Chunks | None:
        """Which clients are trained at once, if any are."""
        return self._chunks

    @property
    def trains_cohorts(self) -> bool:
        """Whether the workers can train a cohort without a message a client: they run fedbal's own clients."""
        return False

    def placed(self, groups: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return for each worker which groups of nodes it trains; here one worker trains all."""
        return [list(range(len(groups)))]

    def cohort_step(
        self, what: str, tasks: Sequence[CohortTask], argument: Any, payloads: Sequence[ArrayRecord] = ()
    ) -> list[Any]:
        """Let each worker do one step of :mod:`fedbal.grid.lean` for its task and return their answers."""
        raise NotImplementedError(f"{type(self).__name__} trains no cohorts")

    def learn(self, order: CohortOrder, replies: StackedReplies) -> None:
        """Remember what the clients' work took, if placement depends on it."""

    @property
    def scores_models(self) -> bool:
        """Whether a worker can predict the global test set."""
        return False

    def score(self, arrays: Arrays, transform: RowTransform | None = None) -> Predictions:
        """Let a worker predict the global test set, on its device.

        Parameters
        ----------
        arrays : Arrays
            The global model.
        transform : callable, optional
            Imputation and scaling of test rows, as of a :class:`clients.data.Split`.
        """
        raise NotImplementedError(f"{type(self).__name__} predicts no test set")

    def reduce(self, chunk: int | None) -> None:
        """Remember that a worker trains at most ``chunk`` clients at once, and say so once; None: as planned."""
        if chunk is None or (self.reduced is not None and self.reduced <= chunk):
            return
        if self.reduced is None:
            self.notes.append(
                "a device ran out of memory; fewer clients were trained at once from there on, so that bytes may "
                "differ from those of a run on a larger one: lower runtime.chunk for runs that repeat exactly"
            )
        self.reduced = chunk

    def tell(self, note: str | None) -> None:
        """Say something of a worker's once a round at most; None: nothing."""
        if note is not None and note not in self.notes:
            self.notes.append(note)

    def close(self) -> None:
        """Let workers go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set_run(self, run: flower.Run) -> None:
        """Set the run record."""
        self._run = run

    @property
    def run(self) -> flower.Run:
        """The run record."""
        return self._run

    def get_node_ids(self) -> Sequence[int]:
        """Return the ids of all clients that have data."""
        return self._nodes

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Run the messages now; their replies wait to be pulled."""
        sent = list(messages)
        self.seconds = {}
        for message in sent:
            self._next_id += 1
            flower.set_message_id(message, f"{self._next_id:032x}")
        for wave in _waves(sent):
            self._replies.update((reply.metadata.reply_to_message_id, reply) for reply in self._deliver(wave))
        return [message.metadata.message_id for message in sent]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the waiting replies to ``message_ids``, each once."""
        return [self._replies.pop(key) for key in list(message_ids) if key in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Run the messages and return all replies, by node id."""
        replies = self.pull_messages(self.push_messages(messages))
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)

    def _deliver(self, messages: list[Message]) -> list[Message]:
        payloads: list[ArrayRecord] = []
        index_of: dict[int, int] = {}
        tasks = [self._task(message, payloads, index_of) for message in messages]
        replies = []
        for message, task, outcome in zip(messages, tasks, self.execute(tasks, payloads), strict=True):
            self.seconds[task.node] = outcome.seconds
            self.reduce(outcome.reduced)
            self.tell(outcome.parted)
            self.states.put(task.node, outcome.state)
            if outcome.content is not None:
                replies.append(Message(outcome.content, reply_to=message))
            else:
                code, reason = outcome.error or (0, "no answer")
                replies.append(Message(Error(code, reason), reply_to=message))
        return replies

    def _task(self, message: Message, payloads: list[ArrayRecord], index_of: dict[int, int]) -> Task:
        light = RecordDict()
        heavy = []
        for name, record in message.content.items():
            if not isinstance(record, ArrayRecord):
                light[name] = record
                continue
            # Messages of one round share one record object: it is encoded and sent once per worker.
            if id(record) not in index_of:
                index_of[id(record)] = len(payloads)
                payloads.append(record)
            heavy.append((name, index_of[id(record)]))
        node = message.metadata.dst_node_id
        kind = message.metadata.message_type
        return Task(node, kind, light, tuple(heavy), self.states.get(node))


def _waves(messages: Sequence[Message]) -> list[list[Message]]:
    """Split messages so that no wave asks a client twice: the second must see the state after the first."""
    waves: list[list[Message]] = []
    asked: dict[int, int] = {}
    for message in messages:
        node = message.metadata.dst_node_id
        wave = asked.get(node, 0)
        asked[node] = wave + 1
        if wave == len(waves):
            waves.append([])
        waves[wave].append(message)
    return waves
