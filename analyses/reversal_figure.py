"""The figure of `reversal.py`, and its finding in words."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probrev.plots.canvas import COLORS, MARKERS, MUTED, POSTERIOR_COLOR

Tables = Mapping[str, pd.DataFrame]

KEEP_PROB = 0.5
WEIGHTS = {"trained": POSTERIOR_COLOR, "gaussian": COLORS[0], "spectral": COLORS[2]}


def draw(figure: Figure, tables: Tables) -> None:
    """Reversal of h and of x, the profile of activations, inverses beside posteriors, priors."""
    (cosine, correlation, of_x), (profile, risks, priors) = figure.subplots(2, 3)
    draw_reversal(cosine, tables["reversal"], "cosine", "h")
    draw_reversal(correlation, tables["reversal"], "correlation", "h", named=False)
    draw_reversal(of_x, tables["reversal"], "correlation", "x", named=False)
    draw_profile(profile, tables["profile"])
    if "risk" in tables:
        draw_risks(risks, tables["risk"])
        draw_priors(priors, tables["prior"])
    else:
        risks.set_axis_off()
        priors.set_axis_off()


def select(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows of a reversal with live units that have these values."""
    chosen = (table["units"] == "live") & (table["keep_prob"] == KEEP_PROB)
    for column, value in wanted.items():
        chosen &= table[column] == value
    return table[chosen]


def draw_reversal(
    ax: Axes, table: pd.DataFrame, metric: str, compared: str, *, named: bool = True
) -> None:
    """One line of marks for each net and path: its own weights, the controls, shuffled pairs."""
    matched = select(table, compared=compared, pairs="matched")
    paths = matched[["net", "top", "depth"]].drop_duplicates().to_records(index=False).tolist()
    place = {path: row for row, path in enumerate(paths)}
    for index, (weights, color) in enumerate(WEIGHTS.items()):
        rows = matched[matched["weights"] == weights]
        at = [place[path] for path in zip(rows["net"], rows["top"], rows["depth"], strict=True)]
        ax.plot(
            rows[metric], at, MARKERS[index], color=color, ms=6 if index == 0 else 5,
            mfc=color if index == 0 else "white", label=weights, zorder=3,
        )  # fmt: skip
    if metric == "cosine":
        rows = select(table, compared=compared, pairs="shuffled", weights="trained")
        at = [place[path] for path in zip(rows["net"], rows["top"], rows["depth"], strict=True)]
        ax.plot(rows[metric], at, "|", color=MUTED, ms=9, label="trained, shuffled pairs")
    labels = [f"{net}  {say_path(top, depth)}" for net, top, depth in paths]
    ax.set_yticks(range(len(paths)), labels if named else [""] * len(paths))
    ax.set(ylim=(len(paths) - 0.4, -0.6), xlim=(min(0.0, ax.get_xlim()[0]), 1.02))
    one, other = ("h", "ĥ") if compared == "h" else ("x", "x̃")
    unitwise = ", unit by unit" if metric == "correlation" else ""
    ax.set_xlabel(f"{metric} of {one} and {other}{unitwise}")
    ax.grid(axis="y", color="#eeeeee")
    if named:
        ax.legend(frameon=False, fontsize=7.5, loc="lower left")


def say_path(top: int, depth: int) -> str:
    """The levels that h goes through: 2→1→2."""
    down = [str(level) for level in range(top, top - depth - 1, -1)]
    return "→".join([*down, *down[-2::-1]])


def draw_profile(ax: Axes, table: pd.DataFrame) -> None:
    """How sparse the live units of each layer are, and how flat."""
    for index, (net, rows) in enumerate(table.groupby("net", sort=False)):
        share, constant = rows["live_active_share"], rows["constant"]
        spread = [np.zeros(len(rows)), rows["constant_high"] - constant]
        style = {"color": COLORS[index], "ls": ""}
        ax.errorbar(share, constant, spread, capsize=2, lw=1, **style)
        ax.plot(share, constant, MARKERS[index], ms=5, label=str(net), **style)
        for level, *at in zip(rows["level"], share, constant, strict=True):
            ax.annotate(f"{level:.0f}", at, (5, -3), textcoords="offset points", fontsize=7)
    ax.axhline(1, color=MUTED, lw=0.8, ls=":")
    ax.set(
        xlabel="share of the live units that is active (numbers: layers)",
        ylabel="‖h‖∞ / ‖h‖₂ over √(log k / k): median, 95 %",
        ylim=(0, None), xlim=(0, 1.15 * table["live_active_share"].max()),
    )  # fmt: skip
    ax.legend(frameon=False, fontsize=7.5, loc="lower right")


def draw_risks(ax: Axes, table: pd.DataFrame) -> None:
    """Relative risk of every inverse and posterior mean, a marker for each net."""
    rows = list_risks(table)
    names = sorted(dict.fromkeys(rows["name"]), key=is_posterior)
    nets = list(dict.fromkeys(rows["net"]))
    for index, net in enumerate(nets):
        own = rows[rows["net"] == net].set_index("name").reindex(names)
        at = np.arange(len(names)) + 0.2 * (index - (len(nets) - 1) / 2)
        spread = np.abs([own["value"] - own["low"], own["high"] - own["value"]])
        style = {"color": COLORS[index], "ls": ""}
        ax.errorbar(own["value"], at, xerr=spread, capsize=2, lw=1, **style)
        ax.plot(own["value"], at, MARKERS[index], ms=5, label=str(net), **style)
        doubtful = np.array([is_posterior(name) for name in names]) & (own["status"] != "ok")
        ax.plot(own["value"][doubtful], at[doubtful], "x", color="black", ms=8)
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.set(ylim=(len(names) - 0.4, -0.6), xscale="log")
    ax.set_xlabel("relative risk  Σ‖ĥ − h‖² / Σ‖h‖²  (crossed out: not converged)")
    ax.grid(axis="y", color="#eeeeee")
    ax.legend(frameon=False, fontsize=7.5)


def draw_priors(ax: Axes, table: pd.DataFrame) -> None:
    """Nats that the other priors lose to the fitted one, in density of h and in evidence of x."""
    others = table[table["prior"] != "fitted"]
    names = [f"{net}  {prior}" for net, prior in zip(others["net"], others["prior"], strict=True)]
    for index, (kind, label) in enumerate((("density", "held-out h"), ("evidence", "x̃"))):
        at = np.arange(len(names)) + 0.2 * (index - 0.5)
        loss, error = others[f"{kind}_loss"], 1.96 * others[f"{kind}_loss_std_error"]
        style = {"color": COLORS[index], "marker": MARKERS[index]}
        ax.errorbar(loss, at, xerr=error, ls="", ms=5, capsize=2, label=label, **style)
    ax.axvline(0, color="#555555", lw=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.set(ylim=(len(names) - 0.4, -0.6))
    ax.set_xlabel("nats per input lost to the fitted prior, 95 %")
    ax.grid(axis="y", color="#eeeeee")
    ax.legend(frameon=False, fontsize=7.5)


def is_posterior(name: str) -> bool:
    """Whether that is a posterior mean rather than an inverse."""
    return name.startswith(("gibbs", "messages"))


def list_risks(table: pd.DataFrame) -> pd.DataFrame:
    """Relative risks once each: of inverses, and of every posterior mean by its own name."""
    table = table[table["metric"] == "relative_risk"]
    about_posterior = table["subject"] == "posterior"
    named = table.assign(name=np.where(about_posterior, table["posterior"], table["subject"]))
    return named.drop_duplicates(["net", "name"])


def say(tables: Tables) -> str:
    """The finding: how far nets reverse beside their controls, D_h, and net beside posterior."""
    said = [say_reversal(tables["reversal"]), say_profile(tables["profile"])]
    if "prior" in tables:
        said += [say_risks(tables["risk"]), say_priors(tables["prior"])]
    return " ".join(said)


def say_reversal(table: pd.DataFrame) -> str:
    """The range of cosines through one layer, and who beats Gaussian weights."""
    one = select(table, compared="h", pairs="matched", depth=1)
    wide = one.pivot(index=["net", "top"], columns="weights", values=["cosine", "correlation"])
    parts = []
    for net, rows in wide.groupby(level="net", sort=False):
        trained, gaussian = (
            ", ".join(f"{cosine:.2f}" for cosine in rows[("cosine", weights)])
            for weights in ("trained", "gaussian")
        )
        parts.append(f"{net} {trained} ({gaussian})")
    wins = {
        metric: int((wide[(metric, "trained")] > wide[(metric, "gaussian")]).sum())
        for metric in ("cosine", "correlation")
    }
    return (
        f"Cosine of h and ĥ through one layer, keep_prob {KEEP_PROB:g}, live units, layer by "
        f"layer, and that of Gaussian weights: {'; '.join(parts)}. Trained weights reverse better "
        f"in {wins['cosine']} of {len(wide)} layers by cosine, in {wins['correlation']} by centred "
        "correlation."
    )


def say_profile(table: pd.DataFrame) -> str:
    """How sparse and how flat real activations are."""
    share, constant = table["live_active_share"], table["constant_high"]
    return (
        f"{share.min():.0%} to {share.max():.0%} of the live units are active; in 95 % of the "
        f"inputs ‖h‖∞ < {constant.max():.1f} √(log k / k) ‖h‖₂."
    )


def say_risks(table: pd.DataFrame) -> str:
    """The net as trained beside the best posterior mean, for each net."""
    rows = list_risks(table)
    said = []
    for net, own in rows.groupby("net", sort=False):
        risks = own.set_index("name")["value"]
        means = risks[[name for name in risks.index if name.startswith("gibbs")]]
        untrusted = own[own["name"].isin(means.index) & (own["status"] != "ok")]["name"]
        doubt = f" (not converged: {', '.join(untrusted)})" if len(untrusted) else ""
        said.append(
            f"{net} {risks['as_trained']:.2f}, {risks['calibrated']:.2f} and {means.min():.2f}"
            f"{doubt}"
        )
    return (
        "Relative risk of the net as trained, the calibrated net and the best Gibbs mean: "
        f"{'; '.join(said)}."
    )


def say_priors(table: pd.DataFrame) -> str:
    """What other priors lose in evidence of x and in density of h."""
    said = []
    for net, rows in table.groupby("net", sort=False):
        losses = rows.set_index("prior")
        others = [
            f"{prior} {losses.loc[prior, 'evidence_loss']:.1f} and "
            f"{losses.loc[prior, 'density_loss']:.1f}"
            for prior in losses.index[1:]
        ]
        said.append(f"{net}: {', '.join(others)}")
    return (
        "Nats per input that other priors lose to the fitted one, in evidence of x̃ and in density "
        f"of held-out h: {'; '.join(said)}."
    )
