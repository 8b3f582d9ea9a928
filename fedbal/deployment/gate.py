"""The gate of a site: nothing is answered that its owner has not agreed to, and what leaves is written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from flwr.app import ConfigRecord, Error, MessageType, RecordDict

from fedbal import protocol
from fedbal.deployment.allow import Allowed
from fedbal.deployment.consent import Consent, Offer
from fedbal.deployment.items import CLASS_COUNTS, JOIN, SCORES
from fedbal.deployment.manifest import Manifest, changes
from fedbal.deployment.order import EVALUATION, REPORT, Order, Report
from fedbal.deployment.order import JOIN as ASKED_TO_JOIN
from fedbal.deployment.sent import SentLog, items_of
from fedbal.errors import FedbalError
from fedbal.scenario import Scenario

REFUSED = 2
"""Error code of an answer that may not leave; that of a ClientApp that raised."""
QUERY = f"query.{protocol.STATISTICS}"


class Answers(Protocol):
    """What stands behind the gate."""

    def answer(self, kind: str, group: str, content: RecordDict) -> RecordDict | Error:
        """Answer one message."""
        ...


@dataclass(frozen=True)
class Terms:
    """What a site was told about consent on its own command line.

    Attributes
    ----------
    name : str
        The site's name.
    folder : Path
        Its state folder, for agreements and ``sent.jsonl``.
    accepted : sequence of str
        Manifests that it agrees to, ``--accept``.
    allowed : Allowed
        What it allows, ``--allow``.
    """

    name: str
    folder: Path
    accepted: Sequence[str] = ()
    allowed: Allowed = field(default_factory=Allowed)


class Refused(Exception):
    """Why something is not answered."""


class Gate:
    """Answers as what stands behind it does, as far as the site's owner agrees.

    Parameters
    ----------
    scenario : Scenario
        What the run's bundle brought.
    terms : Terms
        What the owner said.
    behind : Answers
        Answers messages.
    """

    def __init__(self, scenario: Scenario, terms: Terms, behind: Answers) -> None:
        self.manifest = Manifest.of(scenario)
        self._terms = terms
        self._behind = behind
        self._consent = Consent(terms.folder, terms.accepted)
        self._sent = SentLog(terms.folder)
        self._agreed = False
        strange = terms.allowed.unknown(self.manifest)
        if strange:
            print(f"--allow {strange[0]}=no: this run sends no {strange[0]}", flush=True)

    def answer(self, kind: str, group: str, content: RecordDict) -> RecordDict | Error:
        """Answer one message, and write down what leaves with the answer."""
        order = Order.of(content)
        run = "" if order is None else order.run
        number = protocol.config_of(content).get(protocol.SERVER_ROUND, 0)
        where = (run, number if isinstance(number, int) else 0, kind)
        try:
            answer, items = self._checked(kind, group, content)
        except Refused as refusal:
            answer, items = Error(REFUSED, str(refusal)), {}
        said = (answer.reason or "") if isinstance(answer, Error) else None
        try:
            self._sent.record(*where, items, said)
        except FedbalError as error:
            return Error(REFUSED, f"what leaves could not be written down, so nothing does: {error}")
        return answer

    def _checked(
        self, kind: str, group: str, content: RecordDict
    ) -> tuple[RecordDict | Error, dict[str, int]]:
        problem = self._problem()
        if kind == ASKED_TO_JOIN:
            return self._joining(problem, group, content)
        if problem is not None:
            raise Refused(problem)
        self.check_request(kind, content)
        answer = self._behind.answer(kind, group, content)
        if isinstance(answer, Error):
            return answer, {}
        answer = self.released(kind, answer)
        items = items_of(kind, content, answer)
        undeclared = sorted(set(items) - self.manifest.names)
        if undeclared:
            raise Refused(
                f"the answer holds {', '.join(undeclared)}, which the manifest does not list; a rule or an update "
                "lists what it sends in `discloses`"
            )
        kept = sorted(name for name in items if not self._terms.allowed.permits(name))
        if kept:
            raise Refused(_not_allowed(kept))
        return answer, items

    def check_request(self, kind: str, content: RecordDict) -> None:
        """Refuse a message that asks for what may not leave, before anything is computed; raises ``Refused``."""
        config = protocol.config_of(content)
        requests = config.get(protocol.REQUESTS, [])
        asked = [str(one) for one in requests] if isinstance(requests, list) else []
        if kind == QUERY:
            asked.append(str(config.get(protocol.STATISTICS)))
        if protocol.PSEUDO_SAMPLES in config:
            asked.append(protocol.PSEUDO)
        if kind == MessageType.EVALUATE:
            asked.append(SCORES)
        kept = [name for name in asked if not self._terms.allowed.permits(name)]
        if kept:
            raise Refused(_not_allowed(kept))

    def released(self, kind: str, answer: RecordDict) -> RecordDict:
        """Return an answer without the parts of evaluations that may not leave, and without small class counts."""
        allowed, out = self._terms.allowed, RecordDict()
        for name, record in answer.items():
            rides = name.startswith(EVALUATION)
            if rides and not allowed.permits(SCORES):
                continue
            evaluates = rides or kind == MessageType.EVALUATE
            if isinstance(record, ConfigRecord) and name.removeprefix(EVALUATION) == protocol.EXTRAS:
                out[name] = self._extras(record, evaluates=evaluates)
            else:
                out[name] = record
        return out

    def _extras(self, record: ConfigRecord, *, evaluates: bool) -> ConfigRecord:
        allowed, out = self._terms.allowed, ConfigRecord()
        for key, value in record.items():
            if evaluates and not allowed.permits(key):
                continue
            if key == protocol.LABEL_COUNTS and isinstance(value, list):
                out[key] = allowed.counted(value)  # type: ignore[arg-type]
            else:
                out[key] = value
        if not allowed.permits(protocol.CONFUSION) and evaluates:
            # A personal model's counts are those of the same rows.
            for key in [key for key in out if key.startswith(protocol.PERSONAL)]:
                del out[key]
        return out

    def _problem(self) -> str | None:
        """Return why the site does not take part, None if it does; pins what was agreed to."""
        if not self._agreed:
            found, plain = self.manifest.hash, self.manifest.to_plain()
            known = self._consent.agreed()
            if not self._consent.holds(found):
                last = known[-1]["manifest"] if known else None
                differs = () if last is None else tuple(changes(Manifest.from_plain(last), self.manifest))
                offer = Offer(found, tuple(self.manifest.lines()), differs)
                self._consent.offer(offer, plain)
                return offer.problem
            if found not in {one["hash"] for one in known}:
                self._consent.pin(found, plain)
            self._agreed = True
        missing = self._terms.allowed.missing(self.manifest)
        if missing:
            return f"{_not_allowed(missing)}, and the rule {self.manifest.rule} needs it"
        return None

    def _joining(
        self, problem: str | None, group: str, content: RecordDict
    ) -> tuple[RecordDict | Error, dict[str, int]]:
        if problem is not None:
            report = Report(name=self._terms.name, problem=problem)
        else:
            answer = self._behind.answer(ASKED_TO_JOIN, group, content)
            if isinstance(answer, Error):
                return answer, {}
            report = self._told(Report.of(answer))
        record = report.record()
        items = {JOIN: record.count_bytes()}
        if report.counts is not None:
            items[CLASS_COUNTS] = len(json.dumps(report.counts))
            items[JOIN] -= items[CLASS_COUNTS]
        return RecordDict({REPORT: record}), items

    def _told(self, report: Report) -> Report:
        if report.counts is None:
            return report
        allowed = self._terms.allowed
        if not allowed.permits(CLASS_COUNTS):
            return replace(report, counts=None)
        counts = tuple(0 if count is None else count for count in report.counts)
        return replace(report, counts=allowed.told(counts))


def _not_allowed(names: Sequence[str]) -> str:
    return f"this site does not allow {', '.join(names)} to leave it (--allow {names[0]}=no)"
