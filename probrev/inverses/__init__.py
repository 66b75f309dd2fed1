"""Deterministic inverses: the feedforward net, trained nets, and the ladder towards Bayes."""
