"""Grids of sweeps: a row is the text of a grid's file, refused before a store is written."""

from tests.bad_input.rows import Row

MODEL = 'model = "good.py"\n'
AXES = "[axes]\nnoise_std = [0.8]\n"


def _rows() -> list[Row]:
    rows = [
        Row("", "model"), Row("[axes]\nnoise_std = [1.0]\n", "model"), Row(MODEL, "axes"),
        Row("not toml", "grid"), Row("x = ", "grid"), Row("\0", "grid"),
        Row("x = " + "[" * 5000, "grid"), Row(MODEL + MODEL + AXES, "grid"),
        Row(MODEL + "num_seed = 2\n" + AXES, "num_seed"),
    ]  # fmt: skip
    for value in ("3", "true", "['good.py']", "1.5", "{}"):
        rows.append(Row(f"model = {value}\n{AXES}", "model"))
    for value in ("", "goood", "none.py", "good.toml", "folder.py", "x" * 300):
        rows.append(Row(f"model = '{value}'\n{AXES}", "model"))
    for name in ("num_seeds", "num_obs", "batch_size"):
        for value in ("0", "-1", "2.5", "2e9", "true", "'2'", "[2]", "nan", "10000000000", "{}"):
            rows.append(Row(f"{MODEL}{name} = {value}\n{AXES}", name))
    rows.append(Row(f"{MODEL}num_seeds = 900000000\n{AXES}", "cells"))
    for name in ("posteriors", "inverses"):
        for value in (
            "3",
            "'exact'",
            "[]",
            "[3]",
            "[true]",
            "[['exact']]",
            "{}",
            "['exct']",
            "['']",
        ):
            rows.append(Row(f"{MODEL}{name} = {value}\n{AXES}", (name, "exct", "unknown")))
    rows += [
        Row(f"{MODEL}posteriors = ['exact', 'exact']\n{AXES}", "twice"),
        Row(f"{MODEL}inverses = ['theory', 'theory']\n{AXES}", "twice"),
        Row(f"{MODEL}inverses = ['sigmoid']\n{AXES}", "sigmoid"),
    ]  # fmt: skip
    for value in ("3", "[]", "'noise_std'", "true"):
        for name in ("axes", "fixed", "settings"):
            axes = "" if name == "axes" else AXES
            rows.append(Row(f"{MODEL}{name} = {value}\n{axes}", name))
    for value in (
        "0.8", "[]", "'0.8'", "[nan]", "[inf]", "[-inf]", "[-1.0]", "[true]", "[[0.8]]", "[{}]",
        "['low']", "[1, 1.0]", "[0.8, 0.8]", "['0.8', '0.8']", "[0.8, nan]", "[1979-05-27]",
        "[0.8, -0.8]", "true", "{}",
    ):  # fmt: skip
        rows.append(Row(f"{MODEL}[axes]\nnoise_std = {value}\n", "noise_std"))
    for value in ("nan", "true", "[0.5]", "'half'", "1.5", "0.0", "{}"):
        rows.append(Row(f"{MODEL}{AXES}[fixed]\nkeep_prob = {value}\n", "keep_prob"))
    for name in ("posterior", "seed", "inverse", "nois_std", "''"):
        rows.append(Row(f"{MODEL}[axes]\n{name} = [1.0]\n", name))
    rows.append(Row(f"{MODEL}{AXES}[fixed]\nnoise_std = 1.0\n", "noise_std"))
    rows.append(Row(f'model = "needs.py"\n{AXES}', "free"))
    for value in (
        "gibs = {}", "gibbs = {}", "exact = 3", "exact = {num_samples = 5}",
        "exact = {num_draws = 0}",
        "exact = {num_draws = 2.5}", "exact = {seed = -1}", "exact = {progress = 1}", "exact = [1]",
        "exact = {num_draws = true}", "exact = {obs = 1}", "exact = {num_top = 'all'}",
    ):  # fmt: skip
        names = ("settings", "gibs", "num_draws", "seed", "progress", "num_top", "gibbs")
        rows.append(Row(f"{MODEL}{AXES}[settings]\n{value}\n", names))
    return rows


ROWS = _rows()
