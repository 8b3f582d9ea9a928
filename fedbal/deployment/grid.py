"""Flower's grid as a run on devices needs it: stable names, deadlines, bounded waiting, one phase a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from flwr.app import ArrayRecord, Error, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedbal import protocol
from fedbal.deployment.order import EVALUATION, ORDER, Order, Seat
from fedbal.deployment.packing import pack, unpack
from fedbal.deployment.sites import Sites
from fedbal.errors import RunError
from fedbal.grid.riding import RidingGrid

POLL_SECONDS = 0.2
SLACK = 5.0
"""Seconds that an answer may be on its way after the deadline of its message."""
GONE = 5
"""Flower's error code for a node that went away."""
_LOST = {
    3: "no answer in time",
    4: "its answer was lost on the way",
    GONE: "the site went away",
}
"""What Flower's error codes of a node that gave no answer mean; the SuperLink makes them."""


@dataclass(frozen=True)
class Deadlines:
    """How long to wait for whom.

    Attributes
    ----------
    message : float
        Seconds that a message may take.
    clients : int
        Clients of those asked that must be connected.
    wait : float
        Seconds to wait for them.
    reconnect : float
        Seconds to wait in a round for a client that went away.
    """

    message: float
    clients: int
    wait: float
    reconnect: float = 0.0


@dataclass
class _Asked:
    """One message on its way.

    Attributes
    ----------
    message : Message
        To our node id.
    rides : Message, optional
        The evaluation that rides in it.
    alone : bool
        Whether it is itself an evaluation that should have ridden.
    sent : float
        When, by the monotonic clock.
    lost : float, optional
        When its site went away with it, by the monotonic clock.
    """

    message: Message
    rides: Message | None = None
    alone: bool = False
    sent: float = 0.0
    lost: float | None = None


class DeployedGrid(RidingGrid):
    """Delegates to Flower's grid; node k + 2 is client k whatever Flower calls it.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    sites : Sites
        Who is connected.
    seats : mapping
        Our node id to the site's seat.
    run : str
        Key of the run.
    deadlines : Deadlines
        How long to wait.
    versions : callable
        Returns for our node id the last round whose training counted, 0 for none.
    saved : callable
        Returns the round of the newest checkpoint.
    say : callable
        Is told in one sentence what happens to sites.
    """

    def __init__(
        self,
        grid: Grid,
        sites: Sites,
        seats: Mapping[int, Seat],
        run: str,
        deadlines: Deadlines,
        *,
        versions: Callable[[int], int],
        saved: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(grid)
        self._sites = sites
        self._seats = dict(sorted(seats.items()))
        self._run = run
        self._deadlines = deadlines
        self._versions = versions
        self._saved = saved
        self._say = say
        self._riders: tuple[frozenset[int], RecordDict] | None = None
        self._evaluations: dict[int, Message] = {}
        self._trained: dict[int, int] = {}
        self._gone: list[_Asked] = []
        self._latest: tuple[tuple[tuple[str, object], ...], RecordDict] | None = None

    def get_node_ids(self) -> list[int]:
        """Return our node ids, ascending, whether or not they are connected."""
        return list(self._seats)

    def ride(self, nodes: Sequence[int], content: RecordDict) -> None:
        """Let nodes evaluate along with what is sent next."""
        self._riders = (frozenset(nodes), content)

    def rode(self) -> list[Message]:
        """Return the answers to the evaluations that rode last, by node id."""
        if self._riders is not None:
            self.send_and_receive([])
        found, self._evaluations = self._evaluations, {}
        return [found[node] for node in sorted(found)]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages and return the answers that come in time, by node id.

        Parameters
        ----------
        messages : iterable of Message
            To our node ids.
        timeout : float, optional
            Seconds a message may take; the scenario's where left out.

        Raises
        ------
        RunError
            Fewer clients than needed connect in time.
        """
        seconds = self._deadlines.message if timeout is None else timeout
        work = self._with_riders(list(messages))
        self.seconds, self.missing = {}, {}
        if not work:
            return []
        self._wait_for([one.message.metadata.dst_node_id for one in work])
        waiting = self._push(work, seconds)
        replies: list[Message] = []
        deadline = time.monotonic() + seconds + SLACK
        while (waiting or self._gone) and time.monotonic() < deadline:
            for answer in self._grid.pull_messages(list(waiting)) if waiting else ():
                asked = waiting.pop(answer.metadata.reply_to_message_id, None)
                if asked is not None:
                    replies += self._received(asked, answer)
            waiting |= self._again(deadline - time.monotonic() - SLACK)
            if waiting or self._gone:
                time.sleep(POLL_SECONDS)
        for asked in [*waiting.values(), *self._gone]:
            self._lose(asked, f"no answer within {seconds:g} s")
        self._gone = []
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)

    def _with_riders(self, messages: list[Message]) -> list[_Asked]:
        """Let evaluations ride with training messages of the same model; the others get messages of their own."""
        work = [_Asked(message) for message in messages]
        if self._riders is None:
            return work
        (nodes, content), self._riders = self._riders, None
        group = next((message.metadata.group_id for message in messages), "0")
        model = content[protocol.ARRAYS]
        aboard = set()
        for one in work:
            node, kind = one.message.metadata.dst_node_id, one.message.metadata.message_type
            if node in nodes and kind == MessageType.TRAIN and _carries(one.message, model):
                one.rides = Message(content, node, MessageType.EVALUATE, group_id=group)
                aboard.add(node)
        rest = sorted(nodes - aboard)
        alone = [Message(content, node, MessageType.EVALUATE, group_id=group) for node in rest]
        return work + [_Asked(message, alone=True) for message in alone]

    def _wait_for(self, nodes: Sequence[int]) -> None:
        """Wait until enough of the nodes are connected."""
        needed = min(self._deadlines.clients, len(set(nodes)))
        deadline = time.monotonic() + self._deadlines.wait
        told = False
        while True:
            self._sites.refresh()
            present = sum(self._sites.node(node) is not None for node in set(nodes))
            if present >= needed:
                return
            if not told:
                self._say(f"{present} of {needed} needed clients are connected; waiting")
                told = True
            if time.monotonic() > deadline:
                raise RunError(
                    f"{present} of {needed} needed clients connected within {self._deadlines.wait:g} s; start "
                    "more, or lower deployment.min_clients, and go on."
                )
            time.sleep(POLL_SECONDS)

    def _push(self, work: Sequence[_Asked], seconds: float) -> dict[str, _Asked]:
        """Send to those that are connected; returns message id to what was sent."""
        outgoing, chosen = [], []
        saved = self._saved()
        for asked in work:
            message = asked.message
            node = message.metadata.dst_node_id
            real = self._sites.node(node)
            if real is None:
                self._lose(asked, "the site is not connected")
                continue
            if message.metadata.message_type == MessageType.TRAIN:
                self._trained.pop(node, None)
            version = max(self._versions(node), self._trained.get(node, 0))
            order = Order(self._run, self._seats[node], version, saved, asked.rides is not None)
            # The order stays apart: what is packed is the same for all sites, and travels to the SuperLink once.
            content = RecordDict({**self._packed(message.content), ORDER: order.record()})
            kind, group = message.metadata.message_type, message.metadata.group_id
            outgoing.append(Message(content, real, kind, ttl=seconds, group_id=group))
            chosen.append(asked)
        ids = list(self._grid.push_messages(outgoing)) if outgoing else []
        now = time.monotonic()
        waiting = {}
        for index, asked in enumerate(chosen):
            asked.sent = now
            if index < len(ids) and ids[index]:
                waiting[str(ids[index])] = asked
            else:
                self._lose(asked, "the message could not be sent")
        return waiting

    def _packed(self, content: RecordDict) -> RecordDict:
        """Pack a content, the same one once."""
        records = tuple(content.items())
        if self._latest is None or not _same(self._latest[0], records):
            self._latest = (records, pack(content))
        return self._latest[1]

    def _again(self, seconds: float) -> dict[str, _Asked]:
        """Send once more to those that went away and are back; gives up those that stay away."""
        if not self._gone:
            return {}
        self._sites.refresh()
        gone, self._gone = self._gone, []
        back = []
        for asked in gone:
            if self._sites.node(asked.message.metadata.dst_node_id) is not None:
                back.append(asked)
            elif time.monotonic() - (asked.lost or 0.0) > self._deadlines.reconnect:
                self._lose(
                    asked, f"the site went away and did not come back within {self._deadlines.reconnect:g} s"
                )
            else:
                self._gone.append(asked)
        return self._push(back, max(1.0, seconds)) if back else {}

    def _received(self, asked: _Asked, answer: Message) -> list[Message]:
        """Take one answer; returns it as if it came from our node id, or nothing if it belongs elsewhere."""
        message = asked.message
        node, kind = message.metadata.dst_node_id, message.metadata.message_type
        self.seconds[node] = time.monotonic() - asked.sent
        if answer.has_error():
            error: Error = answer.error
            if error.code == GONE and asked.lost is None and self._deadlines.reconnect:
                self._say(f"{self._sites.name(node)} went away; waiting for it")
                asked.lost = time.monotonic()
                self._gone.append(asked)
                return []
            if error.code in _LOST:
                self._lose(asked, _LOST[error.code])
                return []
            reply = Message(Error(error.code, error.reason), reply_to=message)
        else:
            try:
                own, scores = _apart(unpack(answer.content))
            except Exception as error:
                return [Message(Error(0, f"its answer cannot be read: {error}"), reply_to=message)]
            reply = Message(own, reply_to=message)
            if asked.rides is not None and scores:
                self._evaluations[node] = Message(scores, reply_to=asked.rides)
            if kind == MessageType.TRAIN:
                self._trained[node] = int(protocol.config_of(message.content).get(protocol.SERVER_ROUND, 0))  # type: ignore[arg-type]
        if asked.alone:
            self._evaluations[node] = reply
            return []
        return [reply]

    def _lose(self, asked: _Asked, reason: str) -> None:
        node = asked.message.metadata.dst_node_id
        self.missing[node] = reason
        if asked.message.metadata.message_type == MessageType.TRAIN:
            self._say(f"{self._sites.name(node)}: {reason}")


def _same(one: tuple[tuple[str, object], ...], other: tuple[tuple[str, object], ...]) -> bool:
    """Tell whether two contents have the very same record objects."""
    return len(one) == len(other) and all(
        name == second and record is there for (name, record), (second, there) in zip(one, other, strict=True)
    )


def _carries(message: Message, model: object) -> bool:
    """Tell whether a training message brings exactly this model."""
    own = message.content.get(protocol.ARRAYS)
    return own is model or (isinstance(own, ArrayRecord) and own == model)


def _apart(content: RecordDict) -> tuple[RecordDict, RecordDict]:
    """Take the records of an evaluation out of an answer."""
    own, scores = RecordDict(), RecordDict()
    for name, record in content.items():
        if name.startswith(EVALUATION):
            scores[name.removeprefix(EVALUATION)] = record
        else:
            own[name] = record
    return own, scores
