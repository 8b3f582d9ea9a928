"""Who is connected: asks every new node who it is, and knows sites by name whatever Flower calls their nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedbal.deployment.order import JOIN, ORDER, Order, Report, Seat
from fedbal.deployment.packing import unpack
from fedbal.errors import RunError

POLL_SECONDS = 0.2
ASK_AGAIN = 15.0
"""Seconds until a node that did not answer properly is asked again."""


@dataclass
class _Question:
    """A join that is on its way."""

    node: int
    expires: float


class Sites:
    """The sites of a run.

    Parameters
    ----------
    grid : Grid
        Flower's grid.
    run : str
        Key of the run.
    patience : float
        Seconds that a site may take to say who it is; the first time it loads its data.
    say : callable
        Is told in one sentence who comes, goes or cannot take part.
    """

    def __init__(self, grid: Grid, run: str, patience: float, say: Callable[[str], None]) -> None:
        self._grid = grid
        self._run = run
        self._patience = patience
        self._say = say
        self._seats: dict[str, tuple[int, Seat]] = {}
        self._names: dict[int, str] = {}
        self._reports: dict[int, Report] = {}
        self._real: dict[str, int] = {}
        self._questions: dict[str, _Question] = {}
        self._again: dict[int, float] = {}
        self._problems: dict[int, str] = {}
        self._present: set[int] = set()

    @property
    def reports(self) -> dict[str, Report]:
        """What the connected sites that can take part said, by name."""
        return {
            name: self._reports[real]
            for name, real in sorted(self._real.items())
            if real in self._present and real in self._reports
        }

    @property
    def problems(self) -> list[str]:
        """Why connected nodes do not take part."""
        return sorted({text for node, text in self._problems.items() if node in self._present})

    def seat(self, seats: Mapping[str, tuple[int, Seat]]) -> None:
        """Give sites their places: name to our node id and seat; from now on others are strangers."""
        self._seats = dict(seats)
        self._names = {node: name for name, (node, _) in seats.items()}

    def name(self, node: int) -> str:
        """Return the name of the site at our node id."""
        return self._names.get(node, f"client {node - 2}")

    def node(self, node: int) -> int | None:
        """Return Flower's id of the node at ours, None if it is not connected."""
        real = self._real.get(self._names.get(node, ""))
        return real if real in self._present else None

    def gather(self, count: int, wait: float) -> dict[str, Report]:
        """Wait until so many sites are there and return what they said, by name.

        Raises
        ------
        RunError
            They do not come in time; the message names the problems of those that did.
        """
        deadline = time.monotonic() + wait
        told = -1
        while True:
            self.refresh()
            there = len(self.reports)
            if there >= count:
                return self.reports
            if there != told:
                told = there
                self._say(f"{there} of {count} sites are connected; waiting")
            if time.monotonic() > deadline:
                why = "".join(f"; {problem}" for problem in self.problems)
                raise RunError(f"{there} of {count} sites connected within {wait:g} s{why}.")
            time.sleep(POLL_SECONDS)

    def confirm(self, wait: float) -> dict[str, Report]:
        """Tell every seated site its seat, and return what each says to it, by name.

        Raises
        ------
        RunError
            One does not answer, or cannot sit there.
        """
        self._reports = {}
        deadline = time.monotonic() + wait
        while set(self._seats) - set(self.reports):
            self.refresh()
            if self.problems or time.monotonic() > deadline:
                missing = sorted(set(self._seats) - set(self.reports))
                why = "; ".join(self.problems) or f"no answer from {', '.join(missing)} within {wait:g} s"
                raise RunError(f"not every site can take part: {why}.")
            time.sleep(POLL_SECONDS)
        return {name: report for name, report in self.reports.items() if name in self._seats}

    def refresh(self) -> None:
        """Look who is connected, ask those that are new, and take the answers that have come."""
        self._present = set(self._grid.get_node_ids())
        now = time.monotonic()
        asked = {question.node for question in self._questions.values()}
        new = [
            node
            for node in sorted(self._present)
            if node not in self._reports and node not in asked and self._again.get(node, 0.0) <= now
        ]
        if new:
            self._ask(new, now)
        if self._questions:
            self._listen()
        for message_id, question in list(self._questions.items()):
            if now > question.expires or question.node not in self._present:
                del self._questions[message_id]

    def _ask(self, nodes: list[int], now: float) -> None:
        names = {real: name for name, real in self._real.items()}
        messages = []
        for node in nodes:
            _, seat = self._seats.get(names.get(node, ""), (0, Seat()))
            content = RecordDict({ORDER: Order(self._run, seat).record()})
            messages.append(Message(content, node, JOIN, ttl=self._patience))
        for node, message_id in zip(nodes, self._grid.push_messages(messages), strict=False):
            if message_id:
                self._questions[str(message_id)] = _Question(node, now + self._patience)

    def _listen(self) -> None:
        for answer in self._grid.pull_messages(list(self._questions)):
            question = self._questions.pop(answer.metadata.reply_to_message_id, None)
            if question is None:
                continue
            try:
                if answer.has_error():
                    raise ValueError(str(answer.error.reason))
                report = Report.of(unpack(answer.content))
            except (KeyError, TypeError, ValueError) as error:
                self._refuse(question.node, f"a node does not answer as a site of fedbal ({error})")
                continue
            self._take(question.node, report)

    def _take(self, node: int, report: Report) -> None:
        name = report.name
        if report.problem:
            self._refuse(node, f"{name} cannot take part: {report.problem}")
            return
        other = self._real.get(name)
        if other is not None and other != node and other in self._present:
            self._refuse(node, f"two sites are called {name}; the second is left out")
            return
        self._problems.pop(node, None)
        self._reports[node] = report
        back = other is not None
        self._real[name] = node
        if self._seats and name not in self._seats:
            self._refuse(node, f"{name} has no place in this run, which began without it")
        elif not back:
            self._say(f"{name} is connected")

    def _refuse(self, node: int, problem: str) -> None:
        self._again[node] = time.monotonic() + ASK_AGAIN
        if self._problems.get(node) != problem:
            self._problems[node] = problem
            self._say(problem)
