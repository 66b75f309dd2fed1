"""The law of Marchenko and Pastur: where the spectrum of a large random matrix lies."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import bisect

from probrev.plumbing import door
from probrev.plumbing.readable import readable

# 99.9 % quantile of the Tracy-Widom law with beta = 1 (real matrices).
TRACY_WIDOM_QUANTILE = 3.2724


@readable
@dataclass(frozen=True)
class MarchenkoPastur:
    """Limit law of the eigenvalues of A^T A / N, A of N x p iid entries, p = aspect * N.

    density(x) = sqrt((b - x)(x - a)) / (2 pi aspect v x) on [a, b], with a, b =
    v (1 -+ sqrt(aspect))^2. Its mean is v, its variance aspect v^2.

    Attributes:
        aspect: p / N, in (0, 1].
        variance: v, of the entries, positive.

    Source: Marchenko and Pastur 1967; the closed distribution function is an integration by parts,
    checked against quadrature.
    """

    aspect: float
    variance: float = 1.0

    def __post_init__(self):
        door.number(
            "lie in (0, 1], the short side of the matrix over the long one",
            lambda value: 0 < value <= 1,
        )("aspect", self.aspect)
        door.positive("variance", self.variance)

    @property
    def lower(self) -> float:
        """The edge a."""
        return self.variance * (1 - math.sqrt(self.aspect)) ** 2

    @property
    def upper(self) -> float:
        """The edge b."""
        return self.variance * (1 + math.sqrt(self.aspect)) ** 2

    @cached_property
    def median(self) -> float:
        """Half of the eigenvalues lie below it."""
        found: Any = bisect(lambda x: self.cdf(x) - 0.5, self.lower, self.upper)
        return float(found)

    def density(self, x: ArrayLike) -> Float[np.ndarray, "*shape"]:
        """Density at x; 0 outside the edges, infinite at 0 for aspect 1."""
        x = np.asarray(x, float)
        inside = np.maximum((self.upper - x) * (x - self.lower), 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            density = np.sqrt(inside) / (2 * np.pi * self.aspect * self.variance * x)
        return np.where((x >= self.lower) & (x <= self.upper), density, 0.0)

    def cdf(self, x: ArrayLike) -> Float[np.ndarray, "*shape"]:
        """Probability of an eigenvalue of at most x."""
        a, b = self.lower / self.variance, self.upper / self.variance
        x = np.clip(np.asarray(x, float) / self.variance, a, b)
        root = np.sqrt((b - x) * (x - a))
        around = np.arcsin(np.clip((2 * x - a - b) / (b - a), -1, 1))
        # At aspect 1, where a = 0, this term has the factor 0.
        inverse = ((a + b) * x - 2 * a * b) / (np.where(x > 0, x, 1.0) * (b - a))
        near = np.arcsin(np.clip(inverse, -1, 1))
        terms = root + (1 + self.aspect) * around - (1 - self.aspect) * near
        return 0.5 + terms / (2 * np.pi * self.aspect)

    def reach(self, short: int, long: int) -> tuple[float, float]:
        """The edges of a finite matrix: beyond them lies one eigenvalue in a thousand matrices.

        The centre and scale of the largest eigenvalue, mu and sigma, and their mirror images for
        the smallest, with 3.27 sigma of allowance. A square matrix has no lower edge but 0.

        Args:
            short: p.
            long: N.

        Source: Johnstone 2001, theorem 1.1; for the smallest eigenvalue Ma 2012
        (arXiv:1012.4978), without its transformation to logarithms.
        """
        big, small = math.sqrt(max(long - 1, 1)), math.sqrt(short)
        upper = (big + small) ** 2
        upper += TRACY_WIDOM_QUANTILE * (big + small) * (1 / big + 1 / small) ** (1 / 3)
        big = math.sqrt(long)
        lower = 0.0
        if long > short:
            gap = (big - small) * (1 / small - 1 / big) ** (1 / 3)
            lower = max(0.0, (big - small) ** 2 - TRACY_WIDOM_QUANTILE * gap)
        return self.variance * lower / long, self.variance * upper / long
