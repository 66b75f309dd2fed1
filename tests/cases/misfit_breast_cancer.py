"""A scikit-learn net's second layer: real x that the model does not fit, and x made from real h under a prior that does not fit; both conclusive today.

Arguments: keep_prob relative_noise (.5 .4: real x, .83 of it outside its predictive; .9 .8: x from real h, R .67 with an identity z of -12).
"""

import sys

import jax
import numpy as np
import numpyro
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import probrev as pr

numpyro.enable_x64()
KEEP, NOISE = (float(v) for v in sys.argv[1:] or (0.9, 0.8))
data, labels = load_breast_cancer(return_X_y=True)
train, test, y, _ = train_test_split(
    StandardScaler().fit_transform(data), labels, test_size=0.5, random_state=0, stratify=labels
)
net = MLPClassifier((32, 16), max_iter=400, random_state=0).fit(train, y)
(W0, W), (b0, b) = net.coefs_[:2], net.intercepts_[:2]
low = lambda v: np.maximum(v @ W0 + b0, 0)
up = lambda x: np.maximum(np.asarray(x) @ W + b, 0)
noise = NOISE * np.sqrt(np.mean((up(low(train)) @ W.T) ** 2))
pairs, held_out = (low(train), up(low(train))), (low(test), up(low(test)))
layer, _ = pr.fit_layer(W, *pairs, held_out=held_out, keep_prob=KEEP, noise_std=noise, bias=False)
model = pr.LayeredModel(pr.fit_prior(up(low(train))), [layer])
x = low(test)[:200]
h = up(x)
for name, obs in {
    "real x": pr.Observations(x),
    "x from real h": pr.Observations(model.generate(jax.random.key(0), h), h),
}.items():
    post = pr.gibbs(jax.random.key(1), model, obs, num_samples=2000)
    r = pr.compare(
        model,
        obs,
        {"as_trained": up, "calibrated": pr.FeedforwardNet.from_model(jax.random.key(2), model)},
        {"gibbs": post},
    )
    print(name, r.conclusive, *(v.sentence for v in r.verdicts), sep="\n  ")
    table = r.table()
    print(table[table.metric.str.contains("identity|predictive")].to_string())
