"""Natural clients: one per distinct value of a column (hospital, phone, writer)."""

from __future__ import annotations

from fedbal.data.columns import identities
from fedbal.data.partitions.base import Assignment, Pool
from fedbal.errors import UsageError
from fedbal.registry import unknown_name


def natural_id(pool: Pool, *, partition_by: str) -> Assignment:
    """Give each row to the client its column names, clients sorted by value.

    Parameters
    ----------
    pool : Pool
        The rows. Clients that lose all rows to the long tail stay, without data.
    partition_by : str
        The column.

    Raises
    ------
    UsageError
        There is no such column, or a value is missing.
    """
    dataset = pool.dataset
    if partition_by not in dataset.columns:
        if not dataset.columns:
            raise UsageError(
                f"partition natural_id: {dataset.name} has no column {partition_by!r} nor any other; "
                "choose another partition, such as dirichlet."
            )
        raise UsageError(
            f"partition natural_id on {dataset.name}: {unknown_name('column', partition_by, dataset.columns)}"
        )
    names, owner = identities(dataset.columns[partition_by], partition_by)
    return Assignment(owner[pool.rows], names)
