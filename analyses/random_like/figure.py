"""What was found of trained weights: every layer in one figure, one table, one sentence."""

from collections import Counter
from collections.abc import Iterator
from itertools import cycle, pairwise

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.figure import say_range
from probrev.nets.weights.random_like import MOST_INIT_SHARE, MOST_KS, MOST_KURTOSIS, TOO_SMALL
from probrev.report.plots.canvas import COLORS, MUTED

# The matrices whose answer is known, among the nets.
CONTROLS = "random matrices"
INA, INA_SLIGHT, INA_WIDE = "ina ", "ina speech-music-noise", 512
ROW_INCHES = 0.17


def judged(data: xr.Dataset) -> xr.Dataset:
    """The matrices that are large enough to say."""
    return data.isel(layer=data["word"].to_numpy() != TOO_SMALL)


def draw(data: xr.Dataset) -> Figure:
    """A row a layer, a column a measure: dots as trained, crosses with batch norm folded in."""
    data = judged(data)
    names = [f"{net}: {label}" for net, label in _names(data)]
    order = {name: index for index, name in enumerate(dict.fromkeys(names))}
    places = np.array([order[name] for name in names])
    height = 2.2 + ROW_INCHES * len(order)
    figure = Figure(figsize=(13, height), layout="constrained")
    axes = figure.subplots(1, 5, sharey=True)
    _draw_kurtosis(axes[0], data, places)
    _draw_distances(axes[1], data, places)
    _draw_energies(axes[2], data, places)
    _draw_gram(axes[3], data, places)
    _draw_share(axes[4], data, places)
    axes[0].set_yticks(range(len(order)), order, fontsize=7)
    axes[0].set_ylim(len(order) - 0.5, -0.5)
    nets = [name.partition(":")[0] for name in order]
    for ax in axes:
        for place in np.flatnonzero([a != b for a, b in pairwise(nets)]):
            ax.axhline(place + 0.5, color="#dddddd", lw=0.8)
        ax.tick_params(labelsize=7)
        ax.xaxis.label.set_size(8)
    return figure


def _names(data: xr.Dataset) -> Iterator[tuple[str, str]]:
    return zip(data["net"].to_numpy(), data["label"].to_numpy(), strict=True)


def _dots(ax: Axes, x: np.ndarray, places: np.ndarray, data: xr.Dataset, hollow=False) -> None:
    """Dots as trained, crosses with batch normalisation folded in; a colour a net."""
    nets = data["net"].to_numpy()
    colors = dict(zip(dict.fromkeys(nets), cycle(COLORS), strict=False))
    is_folded = data["is_folded"].to_numpy().astype(bool)
    for net, color in colors.items():
        for folded, marker in ((False, "o"), (True, "x")):
            here = (nets == net) & (is_folded == folded)
            if hollow and folded:
                continue
            ax.plot(
                x[here], places[here], marker, color=color, ms=4.2, mew=0.9,
                mfc="none" if hollow else color,
            )  # fmt: skip


def _draw_kurtosis(ax: Axes, data: xr.Dataset, places: np.ndarray) -> None:
    ax.axvspan(-MOST_KURTOSIS, MOST_KURTOSIS, color="#eeeeee")
    ax.axvline(-1.2, color=MUTED, lw=0.8, ls=":")
    _dots(ax, data["trained_excess_kurtosis"].to_numpy(), places, data)
    ax.set_xscale("symlog", linthresh=1, linscale=1)
    ax.set(xlabel="excess kurtosis of the entries\n(dotted: uniform)\n● trained, × norm folded in")


def _draw_distances(ax: Axes, data: xr.Dataset, places: np.ndarray) -> None:
    ax.axvspan(0, MOST_KS, color="#eeeeee")
    _dots(ax, data["trained_mp_ks"].to_numpy(), places, data)
    _dots(ax, data["trained_bulk_ks"].to_numpy(), places, data, hollow=True)
    ax.plot(data["gaussian_mp_ks"], places, "|", color="black", ms=5)
    ax.set(xlabel="distance from Marchenko-Pastur\n● all, ○ bulk at its own scale\n| Gaussian")
    ax.set_xlim(left=0)


def _draw_energies(ax: Axes, data: xr.Dataset, places: np.ndarray) -> None:
    _dots(ax, data["trained_bulk_energy_outside"].to_numpy(), places, data)
    _dots(ax, data["trained_top_energy"].to_numpy(), places, data, hollow=True)
    ax.plot(data["gaussian_bulk_energy_outside"], places, "|", color="black", ms=5)
    ax.set(xlabel="share of the energy\n● outside the bulk, ○ in the top 1 %\n| outside, Gaussian")
    ax.set_xlim(-0.02, 1.02)


def _draw_gram(ax: Axes, data: xr.Dataset, places: np.ndarray) -> None:
    expected = data["expected_gram_norm"].to_numpy()
    _dots(ax, data["trained_gram_norm"].to_numpy() / expected, places, data)
    ax.plot(data["gaussian_gram_norm"] / expected, places, "|", color="black", ms=5)
    ax.set(xscale="log", xlabel="‖WᵀW/n − I‖ over its\nvalue for Gaussian weights\n| Gaussian")


def _draw_share(ax: Axes, data: xr.Dataset, places: np.ndarray) -> None:
    ax.axvline(MOST_INIT_SHARE, color=MUTED, lw=0.8, ls=":")
    share = data["init_share"].to_numpy()
    _dots(ax, share, places, data.assign(is_folded=xr.zeros_like(data["is_folded"])))
    ax.set(xlabel="share of the variance that\ninitialisation alone would give")
    ax.set_xlim(left=0)


def print_table(data: xr.Dataset) -> None:
    """A line a matrix."""
    columns = ("kurt.", "KS", "A²/N", "M.-P.", "bulk", "above", "outside", "top1%", "top2%",
               "‖G−I‖", "off", "init.")  # fmt: skip
    print("".ljust(44), *(f"{name:>7}" for name in columns), " verdict")
    for index in range(data.sizes["layer"]):
        row = {name: column.item() for name, column in data.isel(layer=index).items()}
        folded = ", norm folded" if row["is_folded"] else ""
        gram = row["trained_gram_norm"] / row["expected_gram_norm"]
        off = row["trained_gram_off_diagonal"] / row["expected_gram_off_diagonal"]
        numbers = [
            *(f"{row[f'trained_{name}']:7.3f}" for name in (
                "excess_kurtosis", "ks", "anderson_darling", "mp_ks", "bulk_ks")),
            f"{row['trained_bulk_num_above']:7.0f}",
            *(f"{row[f'trained_{name}']:7.3f}" for name in (
                "bulk_energy_outside", "top_energy", "top_2_energy")),
            f"{gram:7.2f}", f"{off:7.2f}", f"{row['init_share']:7.3f}",
        ]  # fmt: skip
        print(f"{row['net']}: {row['label']}{folded}".ljust(44), *numbers, "", row["word"])


def say(data: xr.Dataset) -> str:
    """What the measures come to."""
    trained = judged(data.isel(layer=~data["is_folded"].to_numpy().astype(bool)))
    is_net = trained["net"].to_numpy() != CONTROLS
    nets, known = trained.isel(layer=is_net), trained.isel(layer=~is_net)
    counts = Counter(nets["word"].to_numpy().tolist())
    words = ", ".join(f"{times} {word}" for word, times in counts.most_common())
    count = len({*nets["net"].to_numpy()})
    said = [f"Of {nets.sizes['layer']} layers of {count} net{'s' * (count != 1)}: {words}."]
    said += [*_say_ina(nets), *_say_known(known)]
    return " ".join(said)


def _say_ina(nets: xr.Dataset) -> Iterator[str]:
    names, labels = nets["net"].to_numpy(), nets["label"].to_numpy()
    is_dense = np.char.startswith(names, INA) & np.char.startswith(labels, "dense")
    square = nets.isel(
        layer=is_dense & (nets["n_hidden"] == INA_WIDE) & (nets["n_visible"] == INA_WIDE)
    )
    if square.sizes["layer"]:
        yield (
            f"ina's {INA_WIDE}×{INA_WIDE} layers: excess kurtosis "
            f"{say_range(square['trained_excess_kurtosis'], '.2f')}, yet the largest 1 % of the "
            f"singular values carry {say_range(square['trained_top_energy'], '.0%')} of the "
            f"energy, 2 % {say_range(square['trained_top_2_energy'], '.0%')}."
        )
    for is_slight, name in ((True, "its speech-music-noise net"), (False, "its other two")):
        some = nets.isel(layer=is_dense & ((names == INA_SLIGHT) == is_slight))
        if some.sizes["layer"]:
            yield (
                f"Initialisation alone would give {say_range(some['init_share'], '.2f')} of the "
                f"variance in the dense layers of {name}."
            )


def _say_known(known: xr.Dataset) -> Iterator[str]:
    for index in range(known.sizes["layer"]):
        row = known.isel(layer=index)
        yield (
            f"{row['label'].item()}: distance {row['trained_mp_ks'].item():.4f}, "
            f"{row['trained_num_outside'].item()} outside, kurtosis "
            f"{row['trained_excess_kurtosis'].item():.2f}."
        )
