"""What the table of fitted layers says, in sentences made from it."""

from collections import Counter
from collections.abc import Sequence

from analyses.table import Row

JUDGED = ("far", "near", "as good as Bayes", "undecided")


def say(rows: Sequence[Row]) -> str:
    """How many layers fit, what controls do, and what the verdicts are."""
    trained = [row for row in rows if not _is_control(row)]
    controls = [row for row in rows if _is_control(row)]
    passing = [row for row in trained if not row["failed"]]
    judged = [row for row in passing if row["verdict"] in JUDGED]
    withheld = [f"{row['net']} {row['layer']}" for row in passing if row["verdict"] not in JUDGED]
    said = [
        f"{len(trained)} layers of trained nets: {_count_above(trained, 'model')} lie above the "
        f"null of independent rows, by {_range(_gaps(trained))} nats a row; Gaussian weights do in "
        f"{_count_above(trained, 'gaussian')} of them, shuffled h in "
        f"{_count_above(trained, 'shuffled')}."
    ]
    if controls:
        said.append(
            f"Of {len(controls)} untrained layers {_count_above(controls, 'model')} lie above it, "
            f"by {_range(_gaps(controls))}."
        )
    said.append(f"{len(passing)} pass the gates of their fit.")
    if judged:
        words = Counter(row["verdict"] for row in judged)
        counted = ", ".join(f"{count} {word}" for word, count in words.items())
        said.append(
            f"{len(judged)} are judged ({counted}): the net's error is "
            f"{_range([row['ratio'] for row in judged])} times Bayes', kappa "
            f"{_range([row['kappa'] for row in judged])}."
        )
    if withheld:
        said.append(f"Without a verdict, though the layer fits: {', '.join(withheld)}.")
    return " ".join(said)


def _is_control(row: Row) -> bool:
    return row["net"].startswith("untrained")


def _gaps(rows: Sequence[Row]) -> list[float]:
    return [row["model"] - row["null"] for row in rows]


def _count_above(rows: Sequence[Row], name: str) -> int:
    return sum(row[name] > row["null"] for row in rows)


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"
