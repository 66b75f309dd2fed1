"""Arguments of the public functions and classes: counts, scalars, arrays, classes, names."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import probrev as pr
from tests.bad_input.rows import Row, expand

COUNTS = ("0", "-1", "2.5", "3.0", "True", "'3'", "np.nan", "10**30", "[2]", "{}", "1j")
FROM_ZERO = COUNTS[1:]
SEEDS = ("-1", "0.5", "True", "'0'", "None", "np.inf", "2**63", "[0]")
SCALARS = ("None", "'much'", "np.nan", "np.inf", "-1", "True", "[0.5, 0.5]", "1j", "{}", "object()")
PROBS = (*SCALARS, "1.5", "0")
POSITIVE = (*SCALARS, "0")
GIVEN = SCALARS[1:]
KEYS = ("0", "None", "'key'", "np.zeros(2)", "jax.random.split(key)", "jax.random.key")
MODELS = ("None", "3", "'one_layer'", "pr.LayeredModel", "prior", "layer", "[model]", "W", "obs")
OBS = ("None", "x", "x.tolist()", "'x'", "pr.Observations", "(x, h)", "obs[:0]")
ARRAYS = (
    "None", "[]", "[[]]", "[[1.0], [1.0, 2.0]]", "'text'", "[['a']]", "[[None]]", "[[1j]]",
    "[[object()]]", "np.ma.masked_array([[1.0]], [[True]])", "3.0", "np.zeros((2, 2, 2))",
    "[[np.nan]]", "[[np.inf]]", "{}", "np.zeros(3)", "np.zeros((0, 4))", "np.array([['x']])",
    "np.zeros((1, 1), 'datetime64[s]')", "{1: 2}", "type",
)  # fmt: skip
FLAGS = ("None", "1", "'yes'", "[]")
FUNCTIONS = ("3", "'print'", "[print]", "{}")
NAMED = ("3", "'net'", "[net]", "{0: net}", "{'': net}", "{'net': 3}", "{'net': 'universal'}")
PATHS = ("3", "None", "'a\\0b'", "'a' * 300")
CHECKPOINTS = ("'chain.txt'", "'chain'", "3", "'a\\0b.npz'", "'nowhere/chain.npz'", "'a' * 300")

ROWS: list[Row] = [
    # Layers
    *expand("pr.Layer({})", ARRAYS, "weights"),
    *expand("pr.Layer(W, keep_prob={})", PROBS, "keep_prob"),
    *expand("pr.Layer(W, noise_std={})", SCALARS, "noise_std"),
    *expand("pr.Layer(W, gain={})", POSITIVE[1:], "gain"),
    *expand("pr.Layer(W, bias={})", [a for a in ARRAYS if a != "None"], "bias"),
    *expand("pr.Layer(W, activation={})", ("3", "None", "'gelu'", "pr.Relu", "jnp.tanh"), "activ"),
    Row("pr.Layer(np.zeros((3, 2)))", "weights are all 0"),
    *expand("pr.LeakyRelu({})", (*SCALARS, "0", "1.0"), "slope"),
    *expand("pr.ClippedRelu({})", POSITIVE, "top"),
    *expand("pr.Increasing({}, jnp.tanh, jnp.tanh)", ("3", "None", "'tanh'"), "function"),
    # Priors and slabs
    *expand("pr.SpikeAndSlab({}, 0.3, slab)", (*COUNTS, "None"), "n_hidden"),
    *expand("pr.SpikeAndSlab(4, {}, slab)", [a for a in PROBS if a not in ("0", "True")],
            "inclusion_prob"),
    *expand("pr.SpikeAndSlab(4, 0.3, slab, {})", (*FROM_ZERO, "5"), "max_active"),
    *expand("pr.SpikeAndSlab(4, 0.3, {})",
            ("None", "0.5", "'half_normal'", "dist.HalfNormal", "pr.FiniteSlab", "dist.Normal()",
             "dist.Poisson(2.0)", "dist.HalfNormal(np.ones(3))", "dist.Dirichlet(np.ones(3))",
             "[1.0]", "prior", "model"), "slab"),
    *expand("pr.KSparse({}, 2, slab)", (*COUNTS, "None"), "n_hidden"),
    *expand("pr.KSparse(4, {}, slab)", (*FROM_ZERO, "None", "5"), "n_active"),
    *expand("pr.KSparse(4, 2, {})", ("None", "dist.HalfNormal", "0.5", "dist.Normal()"), "slab"),
    *expand("pr.FiniteSlab({}, [1.0])",
            ("None", "[]", "['a']", "[0.0]", "[-1.0]", "[np.nan]", "[np.inf]", "1.0", "[1j]",
             "[1.0, 2.0]", "[[1.0], [1.0, 2.0]]", "object()"), "values"),
    *expand("pr.FiniteSlab([1.0, 2.0], {})",
            ("None", "[]", "['a', 'b']", "[0.7, 0.7]", "[1.5, -0.5]", "[np.nan, 1.0]", "[1.0]",
             "0.5", "[1j, 0]"), "probs"),
    Row("pr.FiniteSlab([1.0, 1.0], [0.5, 0.5])", "distinct"),
    *expand("pr.RectifiedGaussian({}, np.eye(2))",
            ("None", "'a'", "[]", "[1.0]", "[np.nan, 0]", "[np.inf, 0]", "[1j, 0]", "[[1.0, 2.0]]"),
            "mean"),
    *expand("pr.RectifiedGaussian([0.0, 0.0], {})",
            ("None", "'a'", "[]", "-np.eye(2)", "np.eye(3)", "np.full((2, 2), np.nan)", "1j",
             "[[1.0, 2.0], [0.0, 1.0]]"), "covariance"),
    # Models
    *expand("pr.LayeredModel({}, [layer])", ("None", "3", "'sparse'", "[prior]"), "prior"),
    *expand("pr.LayeredModel(prior, {})",
            ("None", "[]", "layer", "[None]", "[W]", "'layer'", "[pr.Layer]", "[prior]", "3",
             "[layer, layer]", "{'a': layer}"), "layer"),
    *expand("model.simulate(key, {})", (*COUNTS, "None"), "num_obs"),
    *expand("model.simulate({}, 3)", KEYS, "key"),
    *expand("model.observe_from({}, h)", KEYS, "key"),
    *expand("model.observe_from(key, {})", ARRAYS, "h "),
    *expand("machine.simulate(key, {})", (*COUNTS, "None"), "num_obs"),
    *expand("pr.BoltzmannMachine({}, [0.0, 0.0])",
            ("None", "[]", "3", "'W'", "[None]", "[[1.0]]", "['a']", "[W, W]", "[np.full((2, 2), "
             "np.nan)]", "[np.full((2, 2), 1j)]", "[np.zeros((0, 2))]"), "weights", "biases"),
    *expand("pr.BoltzmannMachine([W], {})",
            ("None", "[]", "3", "'b'", "[None, 0]", "['a', 0]", "[np.nan, 0]", "[1j, 0]", "[0.0]",
             "[np.zeros(3), 0]"), "bias"),
    # Observations
    *expand("pr.Observations({})",
            [a for a in ARRAYS if not any(w in a for w in ("nan", "inf", "(0, 4)", "[[]]"))], "x "),
    *expand("pr.Observations(x, {})", ("'h'", "h[0]", "h[:3]", "[[1j]]", "{}", "h[:, :, None]"),
            "h"),
    *expand("pr.Observations(x, h, origin={})", ("None", "3", "'mine'"), "origin"),
    *expand("obs[{}]", ("0", "None", "[1, 2]", "'x'", "1.5", "..."), "slice"),
    # Methods
    *expand("pr.gibbs({}, model, obs)", KEYS, "key"),
    *expand("pr.gibbs(key, {}, obs)", MODELS, "model"),
    *expand("pr.gibbs(key, model, {})", OBS, "obs"),
    Row("pr.gibbs(key, model, pr.Observations(x[:, :3]))", "columns"),
    Row("pr.gibbs(key, model, pr.Observations(np.full((2, 12), np.nan)))", "finite"),
    *expand("pr.gibbs(key, model, obs, num_warmup={})", FROM_ZERO, "num_warmup"),
    *expand("pr.gibbs(key, model, obs, num_samples={})", COUNTS, "num_samples"),
    *expand("pr.gibbs(key, model, obs, until_converged={})", FLAGS, "until_converged"),
    *expand("pr.gibbs(key, model, obs, max_samples={})", COUNTS, "max_samples"),
    *expand("pr.gibbs(key, model, obs, num_chains={})", (*COUNTS, "None"), "num_chains"),
    *expand("pr.gibbs(key, model, obs, keep_layers={})", FLAGS, "keep_layers"),
    *expand("pr.gibbs(key, model, obs, start={})", ("None", "'here'", "3"), "start"),
    *expand("pr.gibbs(key, model, obs, checkpoint={})", CHECKPOINTS, "checkpoint"),
    *expand("pr.gibbs(key, model, obs, progress={})", FUNCTIONS, "progress"),
    *expand("pr.hmc({}, model, obs)", KEYS, "key"),
    *expand("pr.hmc(key, {}, obs)", MODELS, "model"),
    *expand("pr.hmc(key, model, {})", OBS, "obs"),
    *expand("pr.hmc(key, model, obs, num_obs={})", COUNTS, "num_obs"),
    *expand("pr.hmc(key, model, obs, num_warmup={})", FROM_ZERO, "num_warmup"),
    *expand("pr.hmc(key, model, obs, num_samples={})", COUNTS, "num_samples"),
    *expand("pr.hmc(key, model, obs, num_chains={})", COUNTS, "num_chains"),
    *expand("pr.hmc(key, model, obs, target_accept_prob={})", (*PROBS, "1"), "target_accept_prob"),
    *expand("pr.exact({}, obs)", MODELS, "model"),
    *expand("pr.exact(model, {})", OBS, "obs"),
    *expand("pr.exact(model, obs, num_draws={})", (*COUNTS, "6"), "num_draws"),
    *expand("pr.exact(model, obs, num_top={})", COUNTS, "num_top"),
    *expand("pr.exact(model, obs, seed={})", SEEDS, "seed"),
    *expand("pr.message_passing({}, obs)", MODELS, "model", "LayeredModel"),
    *expand("pr.message_passing(model, {})", OBS, "obs"),
    *expand("pr.message_passing(model, obs, max_iterations={})", COUNTS, "max_iterations"),
    *expand("pr.message_passing(model, obs, tolerance={})", POSITIVE, "tolerance"),
    *expand("pr.message_passing(model, obs, num_draws={})", COUNTS, "num_draws"),
    *expand("pr.message_passing(model, obs, seed={})", SEEDS, "seed"),
    *expand("pr.estimate_log_evidence({}, model, obs)", KEYS, "key"),
    *expand("pr.estimate_log_evidence(key, {}, obs)", MODELS, "model"),
    *expand("pr.estimate_log_evidence(key, model, {})", OBS, "obs"),
    *expand("pr.estimate_log_evidence(key, model, obs, num_chains={})", COUNTS, "num_chains"),
    *expand("pr.estimate_log_evidence(key, model, obs, num_temperatures={})", COUNTS,
            "num_temperatures"),
    *expand("pr.estimate_log_partition(key, {})", ("None", "3", "model", "pr.BoltzmannMachine"),
            "machine"),
    *expand("pr.log_partition({})", ("None", "3", "model", "pr.BoltzmannMachine"), "machine"),
    *expand("pr.importance_posterior(key, model, {}, net)", OBS, "obs"),
    *expand("pr.importance_posterior(key, model, obs, {})", ("None", "3", "net", "'net'"),
            "inverse"),
    *expand("pr.importance_posterior(key, model, obs, net, num_samples={})", COUNTS, "num_samples"),
    *expand("pr.choose_methods({})", MODELS, "model"),
    # Inverses
    *expand("pr.FeedforwardNet.from_model({}, model)", KEYS, "key"),
    *expand("pr.FeedforwardNet.from_model(key, {})", (*MODELS, "machine"), "model"),
    *expand("pr.FeedforwardNet.from_model(key, model, {})",
            ("None", "'zero'", "['theory', 'theory']", "[]", "np.ones(3)", "'universal '"),
            "bias"),
    *expand("pr.FeedforwardNet.from_model(key, model, keep_prob={})", PROBS, "keep_prob"),
    *expand("pr.FeedforwardNet.from_weights({}, [np.zeros(4)])",
            ("None", "[]", "W", "[W, W]", "['W']", "[None]", "3", "[np.zeros(3)]"), "weights"),
    *expand("pr.FeedforwardNet.from_weights([W], {})",
            ("None", "[]", "['b']", "[None]", "3", "[np.zeros(3)]", "[np.full(4, np.nan)]"),
            "bias"),
    *expand("pr.FeedforwardNet.from_weights([W], [np.zeros(4)], layer_keep_prob={})", PROBS,
            "layer_keep_prob"),
    *expand("pr.build_ladder({}, model)", KEYS, "key"),
    *expand("pr.build_ladder(key, {})", MODELS, "model"),
    *expand("pr.build_ladder(key, model, {})", ("['universl']", "'universal'", "3", "[3]"),
            "names", "universl"),
    *expand("pr.build_samplers(key, {})", MODELS, "model"),
    *expand("pr.list_rungs({})", MODELS, "model"),
    *expand("pr.train_net(key, {})", (*MODELS, "machine"), "model"),
    *expand("pr.train_net({}, model)", KEYS, "key"),
    # Comparisons
    *expand("pr.compare({}, obs, {'net': net}, {'p': draws})", MODELS, "model"),
    *expand("pr.compare(model, {}, {'net': net}, {'p': draws})", OBS, "obs"),
    *expand("pr.compare(model, obs, {}, {'p': draws})", (*NAMED, "{}", "None"), "inverse", "names"),
    *expand("pr.compare(model, obs, {'net': {}}, {'p': draws})",
            ("lambda x: None", "lambda x: 'h'", "lambda x: x", "lambda x: h * np.nan",
             "lambda x: h * 1j", "lambda x: h[0]", "lambda x: [[1], [1, 2]]", "pr.FeedforwardNet"),
            "net"),
    *expand("pr.compare(model, obs, {'net': net}, {})",
            ("None", "{}", "[draws]", "draws", "{'p': 3}", "{'p': 'exact'}", "{0: draws}",
             "{'p': None}", "{'p': pr.Posterior}", "{'p': h}", "{'p/q': draws}"), "posterior",
            "name"),
    *expand("pr.compare(model, obs, {'net': net}, {'p': draws}, random_inverses={})", NAMED,
            "random_inverses", "names"),
    *expand("pr.compare(model, obs, {'net': net}, {'p': draws}, metrics={})",
            ("3", "[len]", "{'m': 3}", "{0: len}", "{'m': 'risk'}"), "metric"),
    *expand("pr.compare(model, obs, {'net': net}, {'p': draws}, seed={})", SEEDS, "seed"),
    *expand("pr.compare(model, obs, {'net': net}, {'p': draws}, interval_prob={})", PROBS,
            "interval_prob"),
    *expand("pr.compare(model, obs, {'net': net}, {'p': draws}, planned={})",
            ("3", "['other']", "'net'"), "planned", "other"),
    *expand("pr.compare(model, obs, {'net': net}, {'p': draws}, provenance={})",
            ("3", "'me'", "{'a': object()}", "{0: 1}"), "provenance"),
    *expand("pr.compare(model, obs, {'net': net}, {'p': draws}, checks={})",
            ("3", "['fine']", "[3]", "'fine'"), "checks"),
    *expand("pr.compare_until({}, model, {'net': net}, ['exact'])", KEYS, "key"),
    *expand("pr.compare_until(key, {}, {'net': net}, ['exact'])", MODELS, "model"),
    *expand("pr.compare_until(key, model, {}, ['exact'])", NAMED, "inverse", "names"),
    *expand("pr.compare_until(key, model, {'net': net}, {})",
            ("['exct']", "[]", "None", "3", "'exact'", "{'p': 3}", "{}"), "posterior", "exct"),
    *expand("pr.compare_until(key, model, {'net': net}, ['exact'], looks={})",
            ("[]", "[0]", "[4, 2]", "[2.5]", "['4']", "4", "None", "[True]", "[10**30]"), "looks"),
    *expand("pr.compare_until(key, model, {'net': net}, ['exact'], observe={})", FUNCTIONS,
            "observe"),
    *expand("pr.compare_until(key, model, {'net': net}, ['exact'], looks=[2], observe={})",
            ("lambda key, n: None", "lambda key, n: x", "lambda key, n: obs[:1]"), "observe"),
    *expand("pr.check_calibration(key, model, {})", ("3", "'gibs'", "None", "[len]"), "method"),
    *expand("pr.check_calibration(key, model, 'gibbs', num_simulations={})", (*COUNTS, "1"),
            "num_simulations"),
    *expand("pr.check_calibration(key, model, 'gibbs', workers={})", COUNTS, "workers"),
    *expand("pr.check_calibration(key, model, 'gibbs', store={})", ("3", "'a\\0b'", "'a' * 300"),
            "store"),
    *expand("pr.check_calibration(key, model, 'gibbs', quantities={})",
            ("3", "{'q': 3}", "{0: len}", "[len]"), "quantit"),
    *expand("pr.check_calibration(key, model, 'gibbs', simulate_from={})", MODELS[1:],
            "simulate_from"),
    *expand("pr.split_gap({}, 'exact')", ("None", "3", "pr.Comparison"), "result"),
    # Posteriors from elsewhere
    *expand("pr.from_draws('mine', {}, x)", [a for a in ARRAYS if "nan" not in a], "h", "draws"),
    *expand("pr.from_draws({}, many, x)", ("3", "None", "''"), "method"),
    *expand("pr.from_draws('mine', many, {})", ("None", "'x'", "x[:2]", "[[1j]]"), "x "),
    *expand("pr.from_draws('mine', many, x, model={})", ("3", "'model'", "pr.LayeredModel"),
            "model"),
    *expand("pr.from_draws('mine', many, x, sampling={})", ("None", "'exact'", "3"), "sampling"),
    *expand("pr.from_draws('mine', many, x, sites={})", ("3", "{0: many}", "{'rate': 'a'}"),
            "site"),
    *expand("pr.from_datatree({}, x)", ("None", "'tree'", "{}", "xr.DataTree()", "object"),
            "posterior", "draws", "h"),
    *expand("pr.measure_agreement({}, draws)", ("None", "many", "pr.Posterior"), "posterior"),
    *expand("draws.of({})", ("3", "None", "[9]", "[-1]", "[0.5]", "['a']", "[True]"), "obs"),
    *expand("draws.with_groups(key, {})", ("3", "['x']", "'prior'", "[3]"), "group"),
    # Theory
    *expand("pr.sample_prior(key, {}, 3)", ("None", "3", "'prior'"), "prior"),
    *expand("pr.sample_prior(key, prior, {})", (*COUNTS, "None"), "num_samples"),
    *expand("pr.sparsity_conditions(key, prior, {})", COUNTS, "n_active"),
    *expand("pr.sparsity_conditions(key, prior, 2, constant={})", POSITIVE, "constant"),
    *expand("pr.predict_net_risk(key, {}, net)", ("None", "3"), "prior"),
    *expand("pr.predict_net_risk(key, prior, {})", ("None", "3", "len", "pr.FeedforwardNet"),
            "net"),
    *expand("pr.evolve_state({}, [layer])", ("None", "3", "pr.SpikeAndSlab"), "prior"),
    *expand("pr.evolve_state(prior, {})", ("None", "[]", "layer", "[W]", "3"), "layers"),
    *expand("pr.evolve_state(prior, [layer], start={})", ("None", "'here'", "3"), "start"),
    *expand("pr.MarchenkoPastur({})", (*PROBS, "2"), "aspect"),
    *expand("pr.MarchenkoPastur(0.5, {})", POSITIVE, "variance"),
    # Real nets
    *expand("pr.random_like({}, W)", KEYS, "key"),
    *expand("pr.random_like(key, {})", ARRAYS, "weights"),
    *expand("pr.gaussian_control(key, {})", ARRAYS, "weights"),
    *expand("pr.spectral_control(key, {})", ARRAYS, "weights"),
    *expand("pr.random_like(key, W, init_share={})", SCALARS[1:], "init_share"),
    *expand("pr.fit_prior({})", ARRAYS, "h"),
    *expand("pr.fit_prior(h, {})", ("None", "3", "'normal'"), "kind"),
    *expand("pr.fit_prior(h, shared={})", FLAGS, "shared"),
    *expand("pr.fit_layer({}, x, h, held_out=(x, h))", ARRAYS, "weights"),
    *expand("pr.fit_layer(W, {}, h, held_out=(x, h))", ARRAYS, "x "),
    *expand("pr.fit_layer(W, x, {}, held_out=(x, h))", ARRAYS, "h "),
    *expand("pr.fit_layer(W, x, h, held_out={})", ("None", "x", "(x,)", "3", "('x', 'h')"),
            "held_out"),
    *expand("pr.fit_layer(W, x, h, held_out=(x, h), keep_prob={})",
            [p for p in PROBS if p != "None"], "keep_prob"),
    *expand("pr.fit_layer(W, x, h, held_out=(x, h), noise_std={})", POSITIVE[1:], "noise_std"),
    *expand("pr.fit_layer(W, x, h, held_out=(x, h), gain={})", POSITIVE[1:], "gain"),
    *expand("pr.fit_net({}, x, x)", ("None", "3", "'net'", "[W]", "pr.FeedforwardNet"), "layers"),
    *expand("pr.fit_net(net, {}, x)", ARRAYS, "x "),
    *expand("pr.fit_net(net, x, {})", ARRAYS, "held_out"),
    *expand("pr.fit_net(net, x, x, layer={})", ("3", "'layer 9'"), "layer"),
    *expand("pr.fit_marginal(key, {}, x)", MODELS, "model"),
    *expand("pr.fit_marginal(key, model, {})", ARRAYS, "x "),
    *expand("pr.fit_marginal(key, model, x, free={})", ("3", "'bias'"),
            "free"),
    *expand("pr.fit_marginal(key, model, x, num_samples={})", COUNTS, "num_samples"),
    *expand("pr.judge_level(key, {})", ("None", "3", "pr.FittedLevel"), "level"),
    *expand("pr.profile_activations({})", ARRAYS, "h "),
    *expand("pr.measure_similarity({}, h)", ARRAYS, "estimate"),
    *expand("pr.measure_similarity(h, {})", ARRAYS, "truth"),
    *expand("pr.reverse(key, {}, h)", ("None", "3", "len", "pr.FeedforwardNet"), "net"),
    *expand("pr.reverse(key, net, {})", ARRAYS, "h "),
    *expand("pr.reverse(key, net, h, depth={})", (*COUNTS, "9"), "depth"),
    *expand("pr.reverse(key, net, h, top={})", (*COUNTS, "9"), "top"),
    *expand("pr.predict_cosine(h, 0.0, {}, 0.5)", COUNTS, "n_visible"),
    *expand("pr.predict_cosine(h, 0.0, 12, {})", PROBS, "keep_prob"),
    *expand("pr.Recipe(hidden={})", ("3", "None", "'wide'", "(0,)", "(2.5,)", "('a',)"), "hidden"),
    *expand("pr.Recipe(num_epochs={})", COUNTS, "num_epochs"),
    *expand("pr.Recipe(batch_size={})", COUNTS, "batch_size"),
    *expand("pr.Recipe(learning_rate={})", POSITIVE, "learning_rate"),
    *expand("pr.Recipe(weight_decay={})", SCALARS, "weight_decay"),
    *expand("pr.Recipe(input_keep_prob={})", PROBS, "input_keep_prob"),
    *expand("pr.Shadow(weight={})", SCALARS, "weight"),
    *expand("pr.Shadow(mode={})", ("None", "3", "'all'"), "mode"),
    *expand("pr.Shadow(keep_prob={})", PROBS, "keep_prob"),
    *expand("pr.Shadow(gain={})", ("None", "3", "'unit'"), "gain"),
    *expand("pr.train_machine(key, {}, [2])", ARRAYS, "x "),
    *expand("pr.train_machine(key, bits, {})", ("None", "[]", "3", "[0]", "[2.5]", "['2']"),
            "widths"),
    *expand("pr.train_machine(key, bits, [2], num_steps={})", COUNTS, "num_steps"),
    *expand("pr.train_machine(key, bits, [2], learning_rate={})", POSITIVE, "learning_rate"),
    # Files
    *expand("pr.load({})", (*PATHS, "'none.nc'", "'.'"), "path", "none.nc", "."),
    *expand("pr.load_calibration({})", (*PATHS, "'none.nc'", "'.'"), "path", "none.nc", "."),
    *expand("pr.load_sweep({})", (*PATHS, "'none.zarr'"), "path", "none.zarr"),
    *expand("pr.read_grid({})", (*PATHS, "'none.toml'", "'.'"), "path", "none.toml", "."),
    *expand("pr.read_layers({})", (*PATHS, "'none.npz'", "'.'"), "path", "none.npz", "."),
    *expand("pr.read_tensors({})", (*PATHS, "'none.npz'", "'.'"), "path", "none.npz", "."),
    *expand("pr.write_report({}, 'page.html')", ("None", "3", "draws"), "result"),
    *expand("pr.write_calibration_report({}, 'page.html')", ("None", "3"), "result"),
    *expand("pr.write_weights_report({}, 'page.html')", ("None", "3", "{}", "{'a': 3}"), "layers"),
]  # fmt: skip


@cache
def names() -> dict[str, Any]:
    """What the rows are typed into: a small model, and what is made of it."""
    import xarray as xr

    weights = np.random.default_rng(0).normal(size=(12, 4))
    slab = pr.FiniteSlab([0.5, 1.0], [0.4, 0.6])
    prior = pr.SpikeAndSlab(4, 0.3, slab)
    layer = pr.Layer(weights, keep_prob=0.5, noise_std=0.7)
    model = pr.LayeredModel(prior, [layer])
    key = jax.random.key(0)
    obs = model.simulate(key, 4)
    assert obs.h is not None
    many = np.tile(np.asarray(obs.h), (2, 8, 1, 1))
    return {
        "pr": pr, "np": np, "jnp": jnp, "jax": jax, "dist": dist, "xr": xr, "key": key,
        "W": weights, "slab": slab, "prior": prior, "layer": layer, "model": model, "obs": obs,
        "x": np.asarray(obs.x), "h": np.asarray(obs.h), "many": many,
        "draws": pr.from_draws("mine", many, obs.x, model=model),
        "net": pr.FeedforwardNet.from_weights([weights], [np.zeros(4)]),
        "machine": pr.BoltzmannMachine([weights], [0.0, 0.0]),
        "bits": (np.asarray(obs.x) > 0).astype(float),
    }  # fmt: skip


def run(typed: str) -> object:
    """Runs a row."""
    return eval(typed, dict(names()))
