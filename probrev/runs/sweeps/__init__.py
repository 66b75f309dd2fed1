"""Grids of comparisons, computed by whoever is there, killed and resumed as one likes.

`grid` says what to compute, `cell` computes one comparison of it, `store` keeps the results, and
`driver` is the loop. Who computes is in `runs/engines`.
"""
