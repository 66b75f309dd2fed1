"""Simulation-based calibration: are a method's posteriors those of its model?

Draw h from the prior and x from p(x | h): then h is a draw from p(h | x), and its rank among the
method's draws, in any quantity, is uniform. `quantities` are what is ranked, `ranks` how,
`uniformity` the test, `simulations` one batch of it all, and `verdict` the answer in words.
"""
