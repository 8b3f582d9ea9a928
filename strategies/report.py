"""What a rule knows about the task, and what it says about a round."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServerContext:
    """What a rule may know about the task.

    Attributes
    ----------
    num_classes : int
        Classes of the task.
    num_clients : int
        Clients in the population that have data (N of the papers, against S in a round).
    learning_rate : float, optional
        Local learning rate, before any schedule.
    batch_size : int
        Samples of a local step; 0: not known.
    seed : int
        Training seed, for streams of the rule's own.
    """

    num_classes: int
    num_clients: int = 0
    learning_rate: float | None = None
    batch_size: int = 0
    seed: int = 0


@dataclass
class RoundReport:
    """What a rule did in a round.

    Attributes
    ----------
    weights : dict
        Node id to the weight its reply got; weights sum to 1.
    dropped : dict
        Node id to the reason why its reply was left out.
    diagnostics : dict
        Node id to further numbers of the rule, by name.
    notes : list of str
        What a user should know ("every client was clipped").
    """

    weights: dict[int, float] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)
    diagnostics: dict[int, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note_client(self, node: int, **numbers: float) -> None:
        """Add diagnostics of one client."""
        self.diagnostics.setdefault(node, {}).update(numbers)
