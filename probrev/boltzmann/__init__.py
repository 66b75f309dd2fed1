"""Boltzmann machines: layers of binary units, the reversible model and the one that is not."""
