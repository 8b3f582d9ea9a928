"""Whether the verdicts of a comparison hold what they promise: simulated comparisons, and real runs of equals."""
