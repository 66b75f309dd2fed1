"""Types of numbers on the command line."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from probrev.plumbing.limits import MOST_COUNT, SEEDS
from probrev.plumbing.refusal import Refusal


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    """A whole number as it is written: 2.5 is not 2."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?\d{1,20}", text):
        raise Refusal(f"expected a whole number; got {text[:40]!r}.")
    return int(text)


Count = Annotated[int, Parameter(converter=_whole, validator=Number(gte=1, lte=MOST_COUNT))]
Seed = Annotated[int, Parameter(converter=_whole, validator=Number(gte=0, lt=SEEDS))]
