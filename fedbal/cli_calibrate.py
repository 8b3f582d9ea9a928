"""``fedbal calibrate``: what engines cost on this machine, as a table and as a file that a scenario can name."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedbal.errors import RunError, UsageError
from fedbal.terminal import MISSING, say, table, warn

if TYPE_CHECKING:
    from fedbal.calibrate import Timing


class Device(StrEnum):
    """Where to measure."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("calibrate")(calibrate)


def calibrate(
    device: Annotated[
        Device, typer.Option("--device", help="Where to measure; auto: a GPU if there is one.")
    ] = Device.auto,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the table of costs that a scenario can name."),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", min=1, help="Measurements whose median counts.")
    ] = 3,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compiled/--no-compiled",
            help="Also measure compiled steps, which take 10 to 20 seconds each to make.",
        ),
    ] = True,
) -> None:
    """Measure on this machine what training clients one by one, at once and compiled costs.

    Takes one to two minutes on one core. A run chooses between one by one and at once by a table that comes with
    fedbal, so that the same scenario gives the same bytes everywhere. With `runtime.costs: FILE` it chooses by
    yours: probably faster here, and the same bytes only for those who have the file; its hash is written down.
    A compiled step is never chosen for you: set `runtime.compile: true` where the table shows that it pays.

    Examples
    --------
        fedbal calibrate
        fedbal calibrate --device cuda --out gpu-costs.yaml
        fedbal run quickstart --set runtime.costs=gpu-costs.yaml
    """
    from fedbal.backend import cuda_is_there
    from fedbal.calibrate import calibrate, rows_of
    from fedbal.cost_file import render
    from fedbal.determinism import pinned, prepare

    if out is not None and out.exists():
        raise UsageError(f"--out: {out} exists; name another file, or remove it.")
    there = cuda_is_there()
    if device is Device.cuda and not there:
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu.")
    where = "cuda" if device is not Device.cpu and there else "cpu"
    with pinned(1):
        prepare(where, "fp32")
        timings = calibrate(where, _report, repeats=repeats, compiled=compiled)
    _print(timings, where)
    rows = rows_of(timings, where)
    if out is not None:
        try:
            out.write_text(render(rows, _comments(where)), encoding="utf-8")
        except OSError as error:
            raise RunError(f"--out: {out} cannot be written ({error.strerror or error}).") from error
        say()
        say(f"wrote {out}; use it with: fedbal run SCENARIO --set runtime.costs={out}")


def _report(timing: Timing) -> None:
    how = "one by one" if timing.kind == "loop" else f"{timing.kind}, {timing.chunk} at once"
    warn(f"{timing.case}: {how}: {timing.milliseconds:.3g} ms a client update")


def _print(timings: Sequence[Timing], where: str) -> None:
    rows = []
    for case in dict.fromkeys(one.case for one in timings):
        own = [one for one in timings if one.case == case]
        loop = next(one for one in own if one.kind == "loop")
        rows.append(
            [
                case,
                f"{loop.parameters}",
                f"{loop.milliseconds:.3g}",
                *_best(own, "vectorized", loop.milliseconds),
                *_best(own, "compiled", loop.milliseconds),
            ]
        )
    headers = ["model", "parameters", "loop ms", "at once ms", "clients", "loop/at once"]
    table(
        [*headers, "compiled ms", "clients", "loop/compiled"],
        rows,
        title=f"wall time of a client update on {where}: one epoch of 100 samples, batch 10, SGD, one thread",
    )


def _best(timings: Sequence[Timing], kind: str, loop: float) -> list[str]:
    found = [one for one in timings if one.kind == kind]
    if not found:
        return [MISSING] * 3
    best = min(found, key=lambda one: one.milliseconds)
    return [f"{best.milliseconds:.3g}", f"{best.chunk}", f"{loop / best.milliseconds:.2f}"]


def _comments(where: str) -> list[str]:
    from fedbal.fingerprints import of_hardware, of_packages

    hardware, packages = of_hardware(where), of_packages()
    return [
        "Written by fedbal calibrate; use it with runtime.costs.",
        f"{hardware.get('gpu', hardware['processor'])}, torch {packages.get('torch', 'unknown')}",
        "The first row that fits decides: up to so many parameters, so many clients at once, from `fewest` on.",
    ]
