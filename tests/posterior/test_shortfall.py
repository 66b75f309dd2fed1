"""How many draws are missing: of chains whose worst ESS and R-hat are known."""

import numpy as np
import pytest

import probrev as pr
from probrev.posterior.shortfall import missing_draws

X = np.zeros((1, 2))


def chains(num_draws, rate, **kwargs):
    """Four chains of an AR(1) process, whose ESS is about N (1 - rate) / (1 + rate)."""
    rng = np.random.default_rng(0)
    h = rng.normal(size=(4, num_draws, 1, 1))
    for step in range(1, num_draws):
        h[:, step] = rate * h[:, step - 1] + np.sqrt(1 - rate**2) * h[:, step]
    return pr.from_draws("mine", h, X, **kwargs)


def test_what_is_missing_follows_from_the_figures():
    short = chains(1000, 0.8)
    figures = short.tree["diagnostics"]
    ess = min(float(figures[f"ess_{part}"].min()) for part in ("bulk", "tail"))
    r_hat = float(figures["r_hat"].max())
    wanted = 1000 * 1.1 * max(400 / ess, (r_hat - 1) / 0.01)
    assert 1250 < wanted < 2000
    assert missing_draws(short) == np.ceil(wanted - 1000)


@pytest.mark.parametrize(("num_draws", "rate", "missing"), [(2000, 0.0, 0), (400, 0.99, 400)])
def test_no_more_than_is_of_use(num_draws, rate, missing):
    assert missing_draws(chains(num_draws, rate)) == missing


def test_a_site_counts_and_chains_that_are_stuck_double():
    h = np.random.default_rng(0).normal(size=(4, 500, 1, 1))
    slow = chains(500, 0.97).draws.to_numpy()[..., 0]
    assert missing_draws(pr.from_draws("mine", h, X)) == 0
    assert missing_draws(pr.from_draws("mine", h, X, sites={"rate": slow})) == 500
    stuck = np.broadcast_to(np.arange(4.0)[:, None, None, None], h.shape)
    assert missing_draws(pr.from_draws("mine", np.concatenate([h, stuck], -1), X)) == 500
    assert missing_draws(pr.from_draws("mine", h[:1], X)) == 0
