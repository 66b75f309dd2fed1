import numpy as np
import pytest

import probrev as pr


def test_profile_by_hand():
    h = np.array([[3.0, 4.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    profile = pr.profile_activations(h)
    np.testing.assert_array_equal(profile.num_active, [2, 1, 0])
    np.testing.assert_allclose(profile.peak, [4 / 5, 1, np.nan])
    np.testing.assert_allclose(profile.flatness, [np.sqrt(np.log(2) / 2), np.nan, np.nan])
    np.testing.assert_allclose(profile.constant[0], 0.8 / np.sqrt(np.log(2) / 2))
    np.testing.assert_array_equal(profile.live, [True, True, False, False])
    assert profile.active_share == pytest.approx(3 / 12)
    assert profile.live_active_share == pytest.approx(3 / 6)


def test_equal_values_are_as_flat_as_can_be():
    h = np.zeros((2, 50))
    h[:, :20] = 0.7
    profile = pr.profile_activations(h)
    np.testing.assert_allclose(profile.peak, 1 / np.sqrt(20))
    np.testing.assert_allclose(profile.constant, 1 / np.sqrt(np.log(20)))


def test_units_that_never_fire_are_no_error():
    profile = pr.profile_activations(np.zeros((2, 3)))
    assert (profile.active_share, profile.live_active_share) == (0, 0)


@pytest.mark.parametrize(
    ("h", "message"),
    [
        (np.ones(3), r"h must have shape \(num_obs, n_hidden\); got shape \(3,\)"),
        (np.array([[1.0, -0.1]]), "finite and nonnegative"),
        (np.array([[1.0, np.nan]]), "h must be finite; got NaN"),
    ],
)
def test_bad_input(h, message):
    with pytest.raises(ValueError, match=message):
        pr.profile_activations(h)
