"""Equal-budget tuning: each method gets the same number of trials, scored on pooled validation rows.

    from fedbal.comparison.tuning.tune import tune

    tuning = tune({"fedavg": one, "fedprox": other}, trials=12, out=OUT / "tuning")
    tuning.overrides("fedprox")        # ("client.update=auto", "strategy.mu=0.12", "client.optimizer.lr=0.08")
    tuning.methods["fedprox"].warnings

Every knob is declared beside its parameter (:mod:`fedbal.search_space`). Trial 0 is the method as declared, the
others are points of a scrambled Sobol sequence from a stream of the method's own. Trials run under ``out``, one
directory each by content, so that a tuning that was killed goes on; the result is written to ``out/tuning.json``.
"""

from __future__ import annotations

from fedbal.comparison.tuning.records import Setting, Spent, Trial, Tuned, Tuning
from fedbal.comparison.tuning.trials import Planned, plan_trials

__all__ = ["Planned", "Setting", "Spent", "Trial", "Tuned", "Tuning", "plan_trials"]
