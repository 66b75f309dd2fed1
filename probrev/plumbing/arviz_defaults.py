"""ArviZ as it is for everybody, whatever a user's `arvizrc` says: no number is to depend on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import arviz as az
from arviz_base.rcparams import rc_params


@contextmanager
def arviz_defaults() -> Iterator[None]:
    """Within it, or in a function that it decorates, ArviZ has its default settings."""
    with az.rc_context(rc_params(ignore_files=True)):
        yield
