"""Runs: model files found and set, where results come from, and sweeps over grids of models."""
