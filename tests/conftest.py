"""Every test runs in float64 and refuses implicit rank promotion."""

import gc
import os

# Workers share the cores: threads of a linear algebra library would spin for those of the others.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Commands keep what they compile in the user's cache folder; tests leave that alone.
os.environ["PROBREV_CACHE"] = "off"

import jax
import numpyro
import pytest

# Linux lets a process have 65,530; the programs of a module take the rest.
MOST_MAPS = 20_000

numpyro.enable_x64()
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """Tests compile much, and everyday ones run little: less of the compiler's optimisation."""
    # Tracing makes many objects, and collecting them searches all that imports have made.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    level = 0 if "not slow" in config.option.markexpr else 1
    os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level={level}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A parameter of a slow test that is a proof is slow no more: `-m slow` leaves it out."""
    for item in items:
        if item.get_closest_marker("proof"):
            item.own_markers = [mark for mark in item.own_markers if mark.name != "slow"]


@pytest.fixture(autouse=True, scope="module")
def _free_compiled_programs():
    """Compiled programs hold memory maps; a process that has used up its number of them crashes."""
    yield
    if _num_maps() > MOST_MAPS:
        jax.clear_caches()


def _num_maps():
    """Memory maps of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            return sum(1 for _ in maps)
    except OSError:
        return 0
