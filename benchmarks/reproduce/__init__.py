"""Published effects, measured again: ``python -m benchmarks.reproduce --help``."""
