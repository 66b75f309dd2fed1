"""What can be said of a posterior: the one list of words, and where each comes from."""

from enum import StrEnum


class Status(StrEnum):
    """Whether a posterior may judge. Only `OK` may; every other word makes a verdict inconclusive.

    - `OK`: it has shown what it must.
    - `NOT_CONVERGED`: a sampler's R-hat or ESS misses its bound, or iterations ran out.
    - `DIVERGED`: messages grew beyond all bounds.
    - `STUCK`: a unit keeps different values in different chains.
    - `UNCHECKED`: nothing moved, one chain, or too few draws: there is nothing to check it by.
    - `INACCURATE`: the error that an exact method claims misses its target.
    - `UNRELIABLE`: its own checks, or those of its assumptions, speak against it.
    """

    OK = "ok"
    NOT_CONVERGED = "not converged"
    DIVERGED = "diverged"
    STUCK = "stuck"
    UNCHECKED = "unchecked"
    INACCURATE = "inaccurate"
    UNRELIABLE = "unreliable"
