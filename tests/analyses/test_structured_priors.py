import jax
import numpy as np
import pytest
from scipy import stats

import probrev as pr
from analyses import structured_priors
from analyses.structured_priors import Horseshoe, priors


@pytest.mark.slow
def test_priors_draw_what_they_say():
    drawn = {name: pr.sample_prior(jax.random.key(0), one, 4000) for name, one in priors(8).items()}
    active = {name: np.asarray(h > 0) for name, h in drawn.items()}
    assert abs(active["independent"].mean() - 0.22) < 0.02
    together = active["groups"].reshape(-1, 2, 4).any(-1)
    assert abs(together.mean() - (0.3 * (1 - 0.3**4) + 0.7 * (1 - 0.99**4))) < 0.02
    after_active = active["neighbours"][:, 1:][active["neighbours"][:, :-1]]
    assert abs(after_active.mean() - 0.7) < 0.02
    assert active["horseshoe"].all()
    # The product of two half-Cauchy scales is heavy: its logarithm is symmetric about log(.2).
    assert abs(np.median(np.log(drawn["horseshoe"])) - np.log(0.2 * 0.67)) < 0.3


@pytest.mark.slow
def test_horseshoe_scales_given_h_are_left_alone():
    """Of draws of all of it, one renewal must leave draws."""
    prior, num = Horseshoe(3), 4000
    model = pr.LayeredModel(prior, [pr.Layer(np.ones((2, 3)), noise_std=1.0)])
    obs = model.simulate(jax.random.key(1), num)
    sites = obs.sites
    keys = jax.random.split(jax.random.key(2), num)
    moved = jax.jit(jax.vmap(prior.renew))(keys, dict(sites), obs.h)
    for name in prior.auxiliary:
        before, after = np.asarray(sites[name]), np.asarray(moved[name])
        assert stats.ks_2samp(before.ravel(), after.ravel()).pvalue > 1e-3
    # Jointly with h too.
    ratios = [
        np.log(np.asarray(one["local_var"] * one["global_var"][:, None] / obs.h**2)).ravel()
        for one in (sites, moved)
    ]
    assert stats.ks_2samp(*ratios).pvalue > 1e-3


@pytest.mark.proof
def test_runs_at_a_tiny_size(tmp_path, capsys):
    tiny = {"num_obs": 6, "n_visible": 8, "n_hidden": 4, "num_samples": 100}
    structured_priors.compute(tmp_path, **tiny, names=("independent", "horseshoe"))
    path = structured_priors.plot(tmp_path)
    assert path.stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "made under horseshoe: most evidence for" in printed
