"""Statistics of paired comparisons: plain numbers in, verdicts out; knows neither scenarios nor runs."""
