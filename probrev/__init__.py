"""How close is a feedforward ReLU net to Bayesian inference?

Arora, Liang and Ma (2015) give a generative model that a feedforward ReLU net inverts: a sparse
hidden vector h, random weights W, x = gain * r(W h + noise) with dropout. This package writes the
model as a NumPyro program, computes p(h | x) exactly or by MCMC, and reports how far the net's
estimate r(W^T x + b) is from it.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
