"""Names of the ladder's rungs, lowest first, known without loading any."""

LAYERED = (
    "theory", "universal", "calibrated", "trained", "scalar", "first_step", "two_steps",
    "three_steps", "converged",
)  # fmt: skip
BINARY = ("sigmoid", "bottom_up", "affine", "mean_field")
RUNGS = (*LAYERED, *BINARY)
