"""How many workers fit, and what to say when they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedbal.errors import UsageError


def fit_workers(
    workers: int | None, num_cpus: float, num_gpus: float, cohort: int, available: Mapping[str, float]
) -> int:
    """Return the number of workers, or say which resource is short and what would fit.

    Parameters
    ----------
    workers : int, optional
        Workers asked for; None: as many as fit, but no more than there are clients in a round.
    num_cpus, num_gpus : float
        Per worker.
    cohort : int
        Clients of a round.
    available : mapping
        Ray's resource names to amounts (``CPU``, ``GPU``).
    """
    most = []
    for name, share in (("CPU", num_cpus), ("GPU", num_gpus)):
        if share <= 0:
            continue
        there = float(available.get(name, 0.0))
        # Ray keeps four decimals of a resource; the tolerance keeps 0.1 x 10 at ten workers.
        fitting = int(there / share + 1e-4)
        key = f"runtime.num_{name.lower()}s"
        if fitting < (workers or 1):
            raise UsageError(
                f"not enough {name}s: {workers or 1} worker(s) with {key} {share:g} need "
                f"{(workers or 1) * share:g}, there are {there:g}; "
                + _remedy(name, key, fitting, workers, there)
            )
        most.append(fitting)
    return workers or max(1, min([cohort, *most]))


def room(nodes: Sequence[Mapping[str, float]], num_cpus: float, num_gpus: float) -> int:
    """Return how many workers fit on machines, each worker on one of them.

    Parameters
    ----------
    nodes : sequence of mapping
        Resource names to amounts (``CPU``, ``GPU``) of each machine.
    num_cpus, num_gpus : float
        Per worker; not both 0.
    """
    shares = [(name, share) for name, share in (("CPU", num_cpus), ("GPU", num_gpus)) if share > 0]
    return sum(min(int(node.get(name, 0.0) / share + 1e-4) for name, share in shares) for node in nodes)


def _remedy(name: str, key: str, fitting: int, workers: int | None, there: float) -> str:
    if there <= 0:
        return f"this machine offers Ray no {name}: set {key} to 0."
    if workers and fitting:
        return f"set runtime.workers to {fitting}, or {key} to at most {there / workers:.4g}."
    return f"set {key} to at most {there:g}."
