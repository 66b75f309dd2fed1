"""Images that a trained net generates: from its own h at each depth, and from edited h."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.figure import Figure

import probrev as pr
from analyses.reversal.real_nets import RealNet

NUM_IMAGES = 10
EDITS = ("mean of class", "from one to another", "one unit alone")
# How strongly a unit alone is on: this quantile of its values that are not 0.
UNIT_QUANTILE = 0.9
# This quantile of an image's pixels is drawn black: single pixels may be far above the others.
BLACK_QUANTILE = 0.985


def generate_images(net: RealNet, keep_prob: float) -> xr.Dataset:
    """Makes the images of both grids.

    `real` (row, image, pixel): the image, x~ from h at each depth without dropout, and with it;
    `edited` (edit, image, pixel): x~ from the top, without dropout, where h is the mean over a
    class, on the way from one image's h to another's, and a single unit, the ones of most energy.

    Args:
        net: one whose x is an image.
        keep_prob: of the row with dropout.
    """
    assert net.image_shape is not None
    whole, dropped = net.stack(1.0), net.stack(keep_prob)
    levels = whole.activations(net.x)
    classes = np.unique(net.labels)
    shown = np.array([np.flatnonzero(net.labels == label)[0] for label in classes])[:NUM_IMAGES]
    rows = {"x": np.asarray(levels[0])[shown]}
    for depth in range(1, len(levels)):
        h = levels[depth][shown]
        rows[f"from h of layer {depth}"] = descend(whole, h, depth)
        if depth == 1:
            rows[f"the same, keep_prob {keep_prob:g}"] = descend(dropped, h, depth)
    top = np.asarray(levels[-1])
    edits = np.stack(
        [edit_classes(top, net.labels), edit_between(top, shown), edit_units(top, len(shown))]
    )
    edited = [descend(whole, jnp.asarray(h), len(levels) - 1) for h in edits]
    dims = ("image", "pixel")
    return xr.Dataset(
        {
            "real": (("row", *dims), np.stack(list(rows.values()))),
            "edited": (("edit", *dims), np.stack(edited)),
        },
        coords={"row": list(rows), "edit": list(EDITS)},
        attrs={"image_shape": net.image_shape},
    )


def descend(stack: pr.FeedforwardNet, h: Array, depth: int) -> np.ndarray:
    """X~ from h of a level."""
    return np.asarray(pr.reverse(jax.random.key(0), stack, h, depth=depth, top=depth).down[-1])


def edit_classes(h: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean h of each class."""
    return np.stack([h[labels == label].mean(0) for label in np.unique(labels)[:NUM_IMAGES]])


def edit_between(h: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Evenly spaced steps from the h of the first image shown to that of the last."""
    share = np.linspace(0, 1, len(shown))[:, None]
    return (1 - share) * h[shown[0]] + share * h[shown[-1]]


def edit_units(h: np.ndarray, count: int) -> np.ndarray:
    """One unit at a time, those of most energy, as strong as they often are; then nothing."""
    units = np.argsort((h**2).sum(0))[::-1][:count]
    edited = np.zeros((count, h.shape[1]))
    for row, unit in enumerate(units):
        fired = h[h[:, unit] > 0, unit]
        edited[row, unit] = np.quantile(fired, UNIT_QUANTILE) if fired.size else 0.0
    return edited


def draw_images(name: str, data: xr.Dataset) -> Figure:
    """Both grids, every image from 0 to nearly its own maximum."""
    shape = tuple(int(side) for side in data.attrs["image_shape"])
    rows = [*zip(data["row"].to_numpy(), data["real"].to_numpy(), strict=True)]
    rows += zip(data["edit"].to_numpy(), data["edited"].to_numpy(), strict=True)
    num_images = data.sizes["image"]
    figure = Figure(figsize=(0.62 * num_images + 1.9, 0.66 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots(len(rows), num_images, squeeze=False)
    for line, (label, images) in zip(axes, rows, strict=True):
        for ax, image in zip(line, images, strict=True):
            darkest = max(np.quantile(image, BLACK_QUANTILE), np.finfo(float).tiny)
            ax.imshow(image.reshape(shape), cmap="gray_r", vmin=0, vmax=darkest)
            ax.set(xticks=[], yticks=[])
            for side in ax.spines.values():
                side.set_color("#cccccc")
        line[0].set_ylabel(str(label), rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle(
        f"{name}: images that the net generates from its own h, and from edited h of its top layer",
        fontsize=9, ha="left", x=0.01,
    )  # fmt: skip
    return figure
