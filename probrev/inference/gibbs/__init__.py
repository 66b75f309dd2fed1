"""Gibbs sampling, any size and depth: one pure step for all chains together."""
