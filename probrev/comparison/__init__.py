"""Comparisons: inverses held against posteriors, metrics, verdicts, and how many observations."""
