"""Four priors of one's own, each held against data of the others: evidence and risk.

    uv run python -m analyses.structured_priors compute runs/structured-priors --size full
    uv run python -m analyses.structured_priors plot runs/structured-priors

Independent spikes and slabs; groups of units that are on or off together; a chain of units, each
more often active beside an active one; and a nonnegative horseshoe, without spikes, whose units
have scales of their own. Groups and chain are NumPyro programs that end in a spike and slab; the
horseshoe is a class with two functions, the units given their scales and the scales given the
units. x is made under each, and h inferred under all: the log evidence tells which made it, and the
risk of the posterior mean what it costs to assume another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure

import probrev as pr
from analyses.script import load, run, save

NAME = "structured_priors"
NAMES = ("independent", "groups", "neighbours", "horseshoe")
SIZES: dict[str, dict[str, Any]] = {
    "quick": {"num_obs": 8, "n_visible": 40, "n_hidden": 12, "num_samples": 500, "names": NAMES},
    "full": {"num_obs": 64, "n_visible": 40, "n_hidden": 12, "num_samples": 2000, "names": NAMES},
}
SLAB = dist.HalfNormal(1.0)


def groups(n_hidden: int, size: int = 4) -> Float[Array, " hidden"]:
    """Groups of units, each on with probability .3; then a unit is active with probability .7."""
    with numpyro.plate("group", n_hidden // size):
        on = numpyro.sample("on", dist.Bernoulli(0.3))
    prob = jnp.where(jnp.repeat(on, size) > 0, 0.7, 0.01)
    return jnp.asarray(numpyro.sample("h", pr.SpikeAndSlab(n_hidden, prob, SLAB)))


def neighbours(n_hidden: int) -> Float[Array, " hidden"]:
    """A Markov chain of states, each as the one before four times in five; active where it is on.

    A unit is what its state says, so that neither could change without the other: they change
    together.
    """
    state = numpyro.sample("state_0", dist.Bernoulli(0.2))
    states = [state]
    for unit in range(1, n_hidden):
        prob = jnp.where(jnp.asarray(states[-1]) > 0, 0.7, 0.1)
        states.append(numpyro.sample(f"state_{unit}", dist.Bernoulli(prob)))
    active = jnp.stack(states).astype(float)
    return jnp.asarray(numpyro.sample("h", pr.SpikeAndSlab(n_hidden, active, SLAB)))


@pr.pytree(meta=("n_hidden", "scale"))
@dataclass(frozen=True)
class Horseshoe(pr.ConditionalPrior):
    """h_i = |N(0, global_var local_var_i)|, both scales half-Cauchy.

    A half-Cauchy variable is the root of an inverse gamma one given another, its `mix`.

    Attributes:
        n_hidden: number of units.
        scale: of the global half-Cauchy; those of the units have 1.

    Source: Carvalho, Polson and Scott 2010; Makalic and Schmidt 2016 (the mixtures).
    """

    n_hidden: int
    scale: float = 0.2
    auxiliary = ("global_mix", "global_var", "local_mix", "local_var")

    def __call__(self) -> Float[Array, " hidden"]:
        """The program."""
        mix = numpyro.sample("global_mix", dist.InverseGamma(0.5, self.scale**-2))
        var = numpyro.sample("global_var", dist.InverseGamma(0.5, 1 / mix))
        with numpyro.plate("hidden", self.n_hidden):
            local_mix = numpyro.sample("local_mix", dist.InverseGamma(0.5, 1.0))
            local = numpyro.sample("local_var", dist.InverseGamma(0.5, 1 / local_mix))
        given = self.given({"global_var": jnp.asarray(var), "local_var": jnp.asarray(local)})
        return jnp.asarray(numpyro.sample("h", given))

    def given(self, u: Mapping[str, Array]) -> pr.SpikeAndSlab:
        """Half-normal units that are never silent."""
        scale = jnp.sqrt(u["global_var"] * u["local_var"])
        return pr.SpikeAndSlab(self.n_hidden, 1.0, dist.HalfNormal(scale))

    def renew(
        self, key: PRNGKeyArray, u: Mapping[str, Array], h: Float[Array, " hidden"]
    ) -> Mapping[str, Array]:
        """Each in turn, given h and the others."""
        keys = jax.random.split(key, 4)
        rate = 1 / u["local_mix"] + h**2 / (2 * u["global_var"])
        local = dist.InverseGamma(1.0, rate).sample(keys[0])
        local_mix = dist.InverseGamma(1.0, 1 + 1 / local).sample(keys[1])
        rate = 1 / u["global_mix"] + (h**2 / local).sum() / 2
        var = dist.InverseGamma((self.n_hidden + 1) / 2, rate).sample(keys[2])
        mix = dist.InverseGamma(1.0, self.scale**-2 + 1 / var).sample(keys[3])
        return {"global_mix": mix, "global_var": var, "local_mix": local_mix, "local_var": local}


def priors(n_hidden: int) -> dict[str, Any]:
    """All four, by name; about as many active units under each."""
    return {
        "independent": pr.SpikeAndSlab(n_hidden, 0.22, SLAB),
        "groups": partial(groups, n_hidden),
        "neighbours": partial(neighbours, n_hidden),
        "horseshoe": Horseshoe(n_hidden),
    }


def compute(
    out: Path,
    *,
    num_obs: int,
    n_visible: int,
    n_hidden: int,
    num_samples: int,
    names: tuple[str, ...],
) -> None:
    """Infers h under every prior from x made under each.

    Args:
        out: folder to write in.
        num_obs: observations made under each prior.
        n_visible: n.
        n_hidden: m, a multiple of 4.
        num_samples: sweeps that are kept.
        names: which priors.
    """
    weights = jax.random.normal(jax.random.key(0), (n_visible, n_hidden))
    layer = pr.Layer(weights, keep_prob=0.5, noise_std=1.0)
    every = priors(n_hidden)
    models = {name: pr.LayeredModel(every[name], [layer]) for name in names}
    shape = (len(names), len(names), num_obs)
    found = {name: np.full(shape, np.nan) for name in ("log_evidence", "std_error", "error")}
    status = np.full(shape[:2], "", dtype=object)
    energy = np.zeros(len(names))
    for row, made in enumerate(names):
        obs = models[made].simulate(jax.random.key(row), num_obs)
        assert obs.h is not None
        energy[row] = float((obs.h**2).sum())
        for column, (name, model) in enumerate(models.items()):
            posterior = pr.gibbs(jax.random.key(10 + row), model, obs, num_samples=num_samples)
            evidence = pr.estimate_log_evidence(
                jax.random.key(20 + row), model, obs, num_temperatures=n_visible
            )
            gap = posterior.mean.to_numpy() - np.asarray(obs.h)
            found["error"][row, column] = (gap**2).sum(1)
            found["log_evidence"][row, column] = evidence.value
            found["std_error"][row, column] = evidence.std_error
            status[row, column] = f"{posterior.status}: {posterior.status_reason}"
            print(f"made under {made}, inferred under {name}: {posterior.status}", flush=True)
    dims = ("made_under", "prior", "obs")
    data = xr.Dataset(
        {name: (dims, values) for name, values in found.items()}
        | {"status": (dims[:2], status.astype(str)), "energy": (dims[0], energy)},
        coords={"made_under": list(names), "prior": list(names)},
    )
    save(out, NAME, data)


def plot(out: Path) -> Path:
    """Prints the finding and draws evidence and risk, each against the prior that made x."""
    data = load(out, NAME)
    names = [str(name) for name in data["prior"].to_numpy()]
    own = np.arange(len(names))
    evidence = data["log_evidence"].to_numpy()
    lost = evidence[own, own][:, None] - evidence  # nats of each observation, (made, prior, obs)
    mean = lost.mean(-1)
    error = lost.std(-1, ddof=1) / np.sqrt(lost.shape[-1])
    risk = data["error"].sum("obs").to_numpy() / data["energy"].to_numpy()[:, None]
    for row, name in enumerate(names):
        best = names[int(mean[row].argmin())]
        others = ", ".join(
            f"{other} {mean[row, at]:.2f} ± {error[row, at]:.2f}"
            for at, other in enumerate(names)
            if at != row
        )
        print(f"made under {name}: most evidence for {best}; nats an observation lost: {others}")
    not_ok = int((~data["status"].str.startswith("ok")).sum())
    print(f"{not_ok} of {data['status'].size} sets of posteriors are not ok")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, values, title in zip(
        figure.subplots(1, 2),
        (mean, risk),
        ("nats lost an observation", "risk of the posterior mean"),
        strict=True,
    ):
        image = axes.imshow(values, cmap="Blues")
        axes.set_xticks(own, names, rotation=20, ha="right")
        axes.set_yticks(own, names)
        axes.set(xlabel="prior", ylabel="x made under", title=title)
        for (y, x), value in np.ndenumerate(values):
            bright = value > 0.6 * values.max()
            axes.text(x, y, f"{value:.2f}", ha="center", va="center", color="w" if bright else "k")
        figure.colorbar(image, ax=axes)
    path = out / f"{NAME}.png"
    figure.savefig(path, dpi=150)
    return path


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
