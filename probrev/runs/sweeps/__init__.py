"""Grids of comparisons, computed by whoever is there, killed and resumed as one likes.

`grid` says what to compute, `cell` computes one comparison of it, `store` keeps the results,
`engines` are who computes, and `driver` is the loop.
"""
