"""What an arm changes against the baseline: paired differences, their intervals, their pooling."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from analyses.figure import say_range
from analyses.shadow.cases import BASELINE, MODES

Cases = Mapping[str, Mapping[str, xr.Dataset]]
NUM_RESAMPLES = 4000
LEVEL = (2.5, 97.5)
# Scales of the hierarchical model's prior, in log error: a change by 1.3 is large.
MEAN_STD, SPREAD_STD = 0.25, 0.25
# Of mu and tau; and the least standard error: an arm may err on the very images of the baseline.
GRID, LEAST_ERROR = np.linspace(-1.5, 1.5, 1501), 1e-3


def list_effects(cases: Cases) -> pd.DataFrame:
    """A row for each case and arm, the baseline too.

    `error`, `log_loss`, `calibration_error` of the test images, mean over seeds; `change`, of the
    error against the baseline; `ratio` of the two, and `log_ratio` with its `std_error`;
    `calibration_change`. 95 % intervals end in `_low` and `_high`.

    Intervals of the error are a paired bootstrap over seeds and over test images, both drawn anew;
    those of the calibration error are over seeds alone.
    """
    rows = []
    for name, arms in cases.items():
        for arm, data in arms.items():
            last = data.isel(check=-1)
            row = {"case": name, "arm": arm, "seeds": data.sizes["seed"]}
            row |= {"weight": data.attrs["weight"], "steps": int(data["num_steps"][-1])}
            row["error"] = float(data["wrong"].mean())
            row |= {key: float(last[key].mean()) for key in ("log_loss", "calibration_error")}
            row |= {"energy_ratio": float(data["energy_ratio"].mean())}
            row |= {"cosine": float(data["cosine"].mean()), "seconds": data.attrs["seconds"]}
            rows.append(row | _compare(arms[BASELINE], data))
    return pd.DataFrame(rows)


def _compare(baseline: xr.Dataset, data: xr.Dataset) -> dict[str, float]:
    rng = np.random.default_rng(0)
    pairs = [one["wrong"].to_numpy().astype(float) for one in (baseline, data)]
    before, after = resample_means(rng, pairs)
    low, high = np.percentile(after - before, LEVEL)
    ratios = np.log(np.maximum(after, 1e-6) / np.maximum(before, 1e-6))
    # Not the mean of the resampled ones, which a net that is always right would make arbitrary.
    ratio = np.log(max(pairs[1].mean(), 1e-6) / max(pairs[0].mean(), 1e-6))
    last = [one["calibration_error"].isel(check=-1).to_numpy() for one in (baseline, data)]
    seeds = rng.integers(len(last[0]), size=(NUM_RESAMPLES, len(last[0])))
    calibration = last[1] - last[0]
    calibration_low, calibration_high = np.percentile(calibration[seeds].mean(1), LEVEL)
    ratio_low, ratio_high = np.exp(np.percentile(ratios, LEVEL))
    return {
        "change": pairs[1].mean() - pairs[0].mean(), "change_low": low, "change_high": high,
        "ratio": np.exp(ratio), "ratio_low": ratio_low, "ratio_high": ratio_high,
        "log_ratio": ratio, "std_error": ratios.std(), "calibration_change": calibration.mean(),
        "calibration_change_low": calibration_low, "calibration_change_high": calibration_high,
    }  # fmt: skip


def resample_means(rng: np.random.Generator, tables: list[np.ndarray]) -> list[np.ndarray]:
    """Means of tables (seed, image) with seeds and images drawn with repetition, the same in all.

    Args:
        rng: generator that draws them.
        tables: of one shape.
    """
    num_seeds, num_images = tables[0].shape
    seeds = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), NUM_RESAMPLES)
    images = np.stack([
        np.bincount(rng.integers(num_images, size=num_images), minlength=num_images)
        for _ in range(NUM_RESAMPLES)
    ])  # fmt: skip
    return [
        np.einsum("rs,sr->r", seeds, table @ images.T) / (num_seeds * num_images)
        for table in tables
    ]


class Pooled(NamedTuple):
    """Posterior of the mean change over cases, as a factor of the test error: median, 95 %."""

    factor: float
    low: float
    high: float


def pool_effects(effects: pd.DataFrame) -> dict[str, Pooled]:
    """What every arm does to the error over all its cases, by a hierarchical model.

    y_c ~ N(theta_c, std_error_c), theta_c ~ N(mu, tau), y_c the log ratio of the errors of a case;
    mu ~ N(0, 1/4), tau ~ half-normal(1/4), an own pair for each arm. The posterior of mu is summed
    over a grid. Cases of one data set share test images, which it leaves out of account.
    """
    rows = effects[effects["arm"] != BASELINE]
    mean, spread = GRID[:, None], GRID[GRID > 0]
    prior = -((mean / MEAN_STD) ** 2) / 2 - (spread / SPREAD_STD) ** 2 / 2
    pooled = {}
    for arm in dict.fromkeys(rows["arm"]):
        of_arm, log_mass = rows[rows["arm"] == arm], prior.copy()
        for ratio, error in zip(of_arm["log_ratio"], of_arm["std_error"], strict=True):
            var = spread**2 + max(error, LEAST_ERROR) ** 2
            log_mass -= 0.5 * (np.log(var) + (ratio - mean) ** 2 / var)
        mass = np.exp(log_mass - log_mass.max()).sum(1)
        # The middle of a cell has half of its mass below it.
        below = (mass.cumsum() - mass / 2) / mass.sum()
        low, middle, high = np.exp(np.interp((0.025, 0.5, 0.975), below, GRID))
        pooled[arm] = Pooled(float(middle), float(low), float(high))
    return pooled


def say_effects(effects: pd.DataFrame) -> str:
    """The finding, from the rows."""
    errors, pooled = effects.loc[effects["arm"] == BASELINE, "error"], pool_effects(effects)
    said = [_say_arm(effects.loc[effects["arm"] == arm], one) for arm, one in pooled.items()]
    shadow = effects[effects["arm"].isin(list(MODES))]
    better = (shadow["calibration_change_high"] < 0).sum()
    worse = (shadow["calibration_change_low"] > 0).sum()
    return (
        f"{_answer([pooled[mode] for mode in MODES])} Over {len(errors)} cases in which the plain "
        f"net errs on {say_range(errors.to_numpy(), '.3f')} of the test images, that error is "
        f"multiplied {'; '.join(said)}. SHADOW's calibration error is lower in {better} and higher "
        f"in {worse} of {len(shadow)}. A step takes {_say_times(effects)} times as long. "
        f"Drawn inputs give back the top layer with a cosine of "
        f"{shadow['cosine'].mean():.2f}, in the plain net "
        f"{effects.loc[effects['arm'] == BASELINE, 'cosine'].mean():.2f}."
    )


def _say_arm(rows: pd.DataFrame, pooled: Pooled) -> str:
    better, worse = (rows["change_high"] < 0).sum(), (rows["change_low"] > 0).sum()
    return (
        f"by {pooled.factor:.3f} [{pooled.low:.3f}, {pooled.high:.3f}] with "
        f"{rows['arm'].iloc[0]} (beyond 95 %, lower in {better} and higher in {worse} of "
        f"{len(rows)})"
    )


def _say_times(effects: pd.DataFrame) -> str:
    """How much longer a step takes with SHADOW than without, a median over cases for each mode."""
    steps = effects.set_index(["case", "arm"])
    rates = (steps["seconds"] / steps["steps"]).unstack("arm")
    times = [np.nanmedian(rates[mode] / rates[BASELINE]) for mode in MODES]
    words = [mode.removeprefix("SHADOW, ") for mode in MODES]
    return " and ".join(f"{one:.1f} ({word})" for one, word in zip(times, words, strict=True))


def _answer(pooled: list[Pooled]) -> str:
    """In a few words, by the intervals of both modes."""
    lower, higher = [one.high < 1 for one in pooled], [one.low > 1 for one in pooled]
    if not any(lower + higher):
        return "SHADOW changes the test error by no more than chance."
    if any(lower) and any(higher):
        return "SHADOW lowers the test error in one mode and raises it in the other."
    verb, told = ("lowers", lower) if any(lower) else ("raises", higher)
    if all(told):
        return f"SHADOW {verb} the test error."
    modes = [mode.removeprefix("SHADOW, ") for mode, one in zip(MODES, told, strict=True) if one]
    return f"SHADOW {verb} the test error {modes[0]}; the other mode changes it by chance at most."
