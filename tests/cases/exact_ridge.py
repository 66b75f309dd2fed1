"""One posterior under an Exponential slab, all weights negative, one row seen: inclusion .0036 where .0266 is right, claimed to 5e-5."""

import numpy as np
import numpyro
import numpyro.distributions as dist

import probrev as pr

numpyro.enable_x64()
W = -np.array(
    [
        [1.921503, 0.183928, 0.781037, 1.151687],
        [0.841998, 0.980867, 0.077318, 0.151839],
        [0.554648, 0.642904, 0.249407, 2.062139],
        [1.524209, 1.007058, 1.400905, 1.311276],
        [1.380472, 2.546089, 1.444111, 0.212451],
        [1.107011, 0.636258, 0.444021, 0.245585],
        [2.872039, 0.808041, 0.255275, 2.053341],
        [1.515185, 0.149983, 0.757622, 0.435088],
        [0.535963, 0.394948, 0.361737, 0.898257],
        [1.143756, 0.809889, 0.103604, 0.75533],
        [0.582188, 0.880724, 2.16086, 0.384322],
        [0.184209, 1.528619, 0.646704, 1.095906],
    ]
)
x = np.zeros((1, 12))
x[0, 0] = 4.7596793
prior = pr.SpikeAndSlab(
    4, np.array([0.195695, 0.344408, 0.474307, 0.363226]), dist.Exponential(1.0), max_active=2
)
found = pr.exact(
    pr.LayeredModel(prior, [pr.Layer(W, keep_prob=0.95, noise_std=0.3, gain=30.0)]),
    pr.Observations(x),
).tree["exact"]
print("log evidence", float(found["log_evidence"][0]), "right: -6.849106")
print(
    "inclusion",
    np.round(found["inclusion_prob"][0].values, 5),
    "right: [.02659 .92788 .21539 .10135] (composite quadrature, 280 nodes an axis)",
)
print("claimed", float(found["integration_error"][0]), "+", float(found["unvisited_mass"][0]))
