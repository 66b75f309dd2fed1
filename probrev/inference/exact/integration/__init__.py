"""Integrals over the supports of a continuous slab, each with a bound that is proved."""
