"""Arora, Liang and Ma's theorems of one layer, measured."""
