"""Breaks a site's worker as a plan in its environment says; Python imports this at its start."""

import json
import os
import signal
import sys
import time

PLAN = "FEDBAL_TEST_FAULTS"
"""Path of a JSON file: round to the name of a fault."""


def _changed(record, change):
    """Return the model of a reply with its first array changed."""
    from fedbal.protocol import to_arrays, to_record

    arrays = to_arrays(record)
    name = next(iter(arrays))
    arrays[name] = change(arrays[name])
    return to_record({key: value for key, value in arrays.items() if value is not None})


def _more(record):
    import numpy as np

    from fedbal.protocol import to_arrays, to_record

    return to_record({**to_arrays(record), "more": np.zeros(1_000_000, np.float32)})


def _weight(answer, value):
    answer["metrics"]["num-examples"] = value


def _killed():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60.0)


BEFORE = {"hang": lambda: time.sleep(3600.0), "kill": _killed, "exit": lambda: sys.exit(3)}
ARRAYS = {
    "nan": lambda array: array * float("nan"),
    "shape": lambda array: array[:, :-1],
    "broadcast": lambda array: array[:1],
    "dtype": lambda array: array.astype("float64"),
    "missing": lambda array: None,
}
ANSWERS = {
    "zero weight": lambda answer: _weight(answer, 0),
    "negative weight": lambda answer: _weight(answer, -5),
    "no weight": lambda answer: answer["metrics"].pop("num-examples"),
    "stale": lambda answer: answer["reply"].update({"base-version": 1}),
    "oversized": lambda answer: answer.update({"arrays": _more(answer["arrays"])}),
    "empty": lambda answer: answer.clear(),
}


def _install():
    from fedbal.deployment.seat import RunSeat

    honest = RunSeat.answer

    def broken(self, kind, group, content):
        with open(os.environ[PLAN]) as handle:
            plan = json.load(handle)
        config = content.config_records.get("config")
        fault = plan.get(str(config.get("server-round", 0))) if config and kind == "train" else None
        if fault in BEFORE:
            BEFORE[fault]()
        if fault == "raise":
            raise RuntimeError("boom")
        answer = honest(self, kind, group, content)
        if fault in ARRAYS:
            answer["arrays"] = _changed(answer["arrays"], ARRAYS[fault])
        elif fault in ANSWERS:
            ANSWERS[fault](answer)
        return None if fault == "none" else answer

    RunSeat.answer = broken


if PLAN in os.environ and "fedbal.deployment.worker" in sys.orig_argv:
    _install()
