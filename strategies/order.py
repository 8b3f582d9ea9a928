"""What a rule asks of a round's cohort: one shared content, and config of its own for some clients."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from fedbal import protocol


@dataclass(frozen=True)
class CohortOrder:
    """One training (or evaluation) request to many clients.

    Attributes
    ----------
    server_round : int
        Round, from 1.
    nodes : tuple of int
        Who is asked, ascending.
    content : RecordDict
        What all are told; never written to.
    own : mapping
        Node id to what one client alone is told beside it.
    cohort : tuple of int
        Who was chosen, ascending: ``nodes`` and those whose work does not count this round. A client's place in
        it decides the order of sums.
    """

    server_round: int
    nodes: tuple[int, ...]
    content: RecordDict
    own: Mapping[int, ConfigRecord] = field(default_factory=dict)
    cohort: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.cohort:
            object.__setattr__(self, "cohort", self.nodes)

    def without(self, nodes: Collection[int]) -> CohortOrder:
        """Return the order without some clients, who keep their place in the cohort."""
        kept = tuple(node for node in self.nodes if node not in nodes)
        return replace(self, nodes=kept, own={node: self.own[node] for node in kept if node in self.own})

    def telling(self, own: Mapping[int, ConfigRecord]) -> CohortOrder:
        """Return the order with more config for single clients."""
        both = dict(self.own)
        for node, config in own.items():
            both[node] = ConfigRecord({**both.get(node, {}), **config})
        return replace(self, own=both)

    def bringing(self, name: str, record: ArrayRecord | None) -> CohortOrder:
        """Return the order with one more record for all; None: as it is."""
        return self if record is None else replace(self, content=RecordDict({**self.content, name: record}))

    def requesting(self, extras: Sequence[str]) -> CohortOrder:
        """Return the order with more extras asked of all; none: as it is."""
        if not extras:
            return self
        return replace(self, content=protocol.requesting(self.content, extras))

    def content_for(self, node: int) -> RecordDict:
        """Return what one client is told; clients without config of their own share one object."""
        own = self.own.get(node)
        if not own:
            return self.content
        content = RecordDict(dict(self.content))
        config = protocol.config_of(self.content).copy()
        config.update(own)
        content[protocol.CONFIG] = config
        return content

    def messages(self, kind: str) -> list[Message]:
        """Return the order as Flower messages."""
        group = str(self.server_round)
        return [Message(self.content_for(node), node, kind, group_id=group) for node in self.nodes]

    def num_bytes(self) -> int:
        """Return the bytes of all messages, without making them."""
        shared = protocol.num_bytes(self.content)
        told = sum(protocol.num_bytes(self.content_for(node)) for node in self.nodes if node in self.own)
        return told + shared * sum(node not in self.own for node in self.nodes)
