"""Comparison of rules: plan, runs, pairing, statistics, tables, figures, report."""
