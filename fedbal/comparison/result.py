"""What ``fedbal.compare`` returns: the comparison as data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbal.comparison import said, tidy
from fedbal.comparison.compared import Compared
from fedbal.comparison.ranked import ranked
from fedbal.comparison.report import NAME
from fedbal.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ComparisonResult:
    """A comparison; its data frames need pandas.

    Attributes
    ----------
    compared : Compared
        Protocol, runs, pairing and analysis.
    """

    compared: Compared

    @property
    def directory(self) -> Path:
        """The comparison's directory."""
        return self.compared.directory

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.directory / NAME

    @property
    def verdicts(self) -> list[str]:
        """What was found, in sentences."""
        return said.everything(self.compared)

    @property
    def table(self) -> pd.DataFrame:
        """One line a data set and method, best first, reference rows after the others."""
        rows = []
        for dataset in self.compared.protocol.datasets:
            for row in ranked(self.compared, dataset):
                found = row.contrast
                plain = {key: value for key, value in vars(row).items() if key != "contrast"}
                numbers = (
                    {}
                    if found is None
                    else {
                        key: getattr(found, key) for key in ("difference", "low", "high", "p", "p_adjusted")
                    }
                )
                rows.append({"dataset": dataset, **plain, **numbers, "verdict": row.verdict})
        return _frame(rows)

    @property
    def contrasts(self) -> pd.DataFrame:
        """One line a method against the baseline, with every number of the test; reference rows too."""
        analysis = self.compared.analysis
        return _frame(
            {**asdict(found), "reference": reference}
            for reference, part in ((False, analysis.contrasts), (True, analysis.references))
            for found in part
        )

    @property
    def results(self) -> pd.DataFrame:
        """One line a run and outcome: the mean over the window of the primary outcome, as ``outcomes.csv``."""
        return _frame(_named(tidy.OUTCOME_COLUMNS, tidy.outcome_rows(self.compared.records)))

    @property
    def rounds(self) -> pd.DataFrame:
        """One line a run, evaluated round and metric, as ``results.csv``."""
        rows = tidy.round_rows(self.compared.protocol, self.compared.records)
        return _frame(_named(tidy.COLUMNS, rows))


def _named(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[Mapping[str, Any]]:
    return (dict(zip(columns, row, strict=True)) for row in rows)


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError as error:
        raise UsageError("data frames need pandas: pip install 'fedbal[report]'.") from error
    return pd.DataFrame(list(rows))
