"""What figures share."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from analyses.figure import bars, plain_ticks, say_range, show


def test_bars_reach_the_ends_and_never_back():
    np.testing.assert_allclose(bars([3.0, 5.0], [1.0, 5.5], [7.0, 6.0]), [[2, 0], [4, 1]])


def test_ticks_are_plain_numbers_alone():
    ax = Figure().subplots()
    ax.set(xscale="log", xlim=(0.1, 10))
    plain_ticks(ax.xaxis, (0.25, 1.0, 4.0))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.25", "1", "4"]
    assert not len(ax.get_xticks(minor=True))


def test_the_finding_is_printed_and_drawn(tmp_path, capsys):
    figure = Figure()
    finding = f"Errors are {say_range(xr.DataArray([0.31, 0.125, 0.2]), '.2f')}."
    assert show(figure, finding, tmp_path / "figure.png").stat().st_size > 1000
    assert capsys.readouterr().out == "Errors are 0.12 to 0.31.\n"
    assert figure.get_suptitle() == finding.rstrip()
