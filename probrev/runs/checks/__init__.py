"""Checks of a model and a method: batches of simulations, killed and resumed as one likes.

`check` says what to compute and is the loop, `store` keeps the batches.
"""
