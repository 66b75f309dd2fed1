import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from probrev.plumbing import door


@door.guard(shift=door.whole)
def logs(shift):
    """What strict promotion and debugging of NaN and infinity would stop, each."""
    return jnp.log(jnp.arange(-1, 2) + jnp.float32(shift))


def test_public_functions_compute_the_same_whatever_a_user_has_set():
    wanted = np.asarray(logs(0))
    assert np.isnan(wanted[0])
    assert np.isneginf(wanted[1])
    with jax.numpy_dtype_promotion("strict"), jax.debug_nans(True), jax.debug_infs(True):
        np.testing.assert_array_equal(logs(0), wanted)
        with pytest.raises(Exception, match="promotion"):
            jnp.arange(2) + jnp.float32(1)  # as they were


def test_a_model_simulates_under_strict_promotion():
    slab = pr.FiniteSlab([0.5, 1.0], [0.5, 0.5])
    weights = np.arange(8.0).reshape(4, 2)

    def simulated():
        model = pr.LayeredModel(pr.SpikeAndSlab(2, 0.3, slab), [pr.Layer(weights, 0.5, 1.0)])
        return np.asarray(model.simulate(jax.random.key(0), 3).x)

    with jax.numpy_dtype_promotion("strict"):
        found = simulated()
    np.testing.assert_array_equal(found, simulated())
