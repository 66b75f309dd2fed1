import re
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import probrev as pr
from probrev.inverses.ladder.layered import RUNGS
from probrev.posterior.posterior import from_draws
from probrev.report import plots
from probrev.report.plots.canvas import marks, styled
from probrev.report.plots.drawing import HOVER, drawing
from probrev.report.plots.observation import MAX_UNITS, fold_units, look_at
from probrev.report.plots.ranks import _untied_ranks, worst_units
from probrev.report.plots.rows import rows_of
from tests import small_runs

DRAWN = {
    "calibration": lambda run: plots.plot_calibration(run, "exact"),
    "curve": lambda run: plots.plot_curve(run, "exact"),
    "gap": lambda run: plots.plot_gap(pr.split_gap(small_runs.with_rungs(), "exact"), "exact"),
    "ladder": lambda run: plots.plot_ladder(run, "exact"),
    "observation": lambda run: plots.plot_observation(run, "exact", 3),
    "pit": lambda run: plots.plot_pit(run, "exact"),
    "predictive": lambda run: plots.plot_predictive(run, "exact"),
    "ranks": lambda run: plots.plot_ranks(run, "gibbs"),
    "spreads": lambda run: plots.plot_spreads(run, "exact", "dropout"),
    "support": lambda run: plots.plot_support(run, "exact"),
}


def lines_of(figure):
    return {line.get_label(): line for ax in figure.axes for line in ax.get_lines()}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_leaves_no_trace_and_is_the_same_again(name):
    settings = dict(matplotlib.rcParams)
    first = DRAWN[name](small_runs.full())
    assert isinstance(first, Figure)
    assert pyplot.get_fignums() == []
    text = drawing(first, "said")
    assert text.startswith(('<svg role="img" aria-label="said"', '<img alt="said"'))
    assert text == drawing(DRAWN[name](small_runs.full()), "said")
    assert dict(matplotlib.rcParams) == settings


def test_a_figure_is_the_same_under_a_user_s_own_settings():
    @styled
    def titled():
        figure = Figure()
        figure.add_subplot().set_title("R and 50 % of h_1")
        return figure

    def drawn():
        return drawing(titled(), "titled")

    first = drawn()
    own = {"text.usetex": True, "axes.grid": True, "figure.dpi": 7, "font.size": 70}
    with matplotlib.rc_context({**own, "axes.formatter.use_locale": True}):
        assert drawn() == first


def test_dense_figures_become_pixels():
    figure = Figure()
    figure.add_subplot().scatter(*np.random.default_rng(0).random((2, 5000)))
    assert 'src="data:image/png' in drawing(figure, "dense")


def test_a_drawing_is_small_says_what_it_shows_and_shares_no_id():
    figure = Figure(figsize=(4, 3))
    ax = figure.add_subplot()
    (line,) = ax.plot([0.0, 1.0], [0.12345678, 2.0], "o")
    line.set_gid(f"{HOVER}a <b> 0.12345678")
    ax.set_title("0.12345678 <script>")
    svg = drawing(figure, 'alt "quoted" <script>')
    assert svg.startswith(
        '<svg role="img" aria-label="alt &quot;quoted&quot; &lt;script&gt;" width="384"'
    )
    assert "<script" not in svg
    assert "http" not in svg
    assert "<style" not in svg
    assert "<title>a &lt;b&gt; 0.12345678</title>" in svg
    assert ">0.12345678 &lt;script&gt;<" in svg
    ids = re.findall(r' id="([^"]*)"', svg)
    assert ids
    assert {name[:6] for name in ids} == {ids[0][:6]}
    assert {*re.findall(r'(?:url\(|href=")#([^)"]+)', svg)} == {*ids}
    ax.set_title("other")
    assert not {*re.findall(r' id="([^"]*)"', drawing(figure, "other"))} & {*ids}


def test_observation_shows_the_posterior_the_estimates_and_the_truth():
    run = small_runs.full()
    drawn = lines_of(plots.plot_observation(run, "exact", 3))
    h = run.tree["truth/h"].to_numpy()[3]
    units = look_at(run, "exact", 3).units.shown
    np.testing.assert_array_equal(drawn["truth"].get_xdata(), np.where(h == 0, np.nan, h)[units])
    estimate = run.tree["inverses/h"].sel(inverse="net", obs=3)[units]
    np.testing.assert_array_equal(drawn["net"].get_xdata(), estimate)
    mean = small_runs.exact().mean.sel(obs=3)[units]
    np.testing.assert_array_equal(drawn["exact, mean"].get_xdata(), mean)
    assert drawn["net"].get_color() == marks(run)["net"].color


def test_observation_without_truth_shows_none():
    drawn = lines_of(plots.plot_observation(small_runs.without_truth(), "gibbs", 3))
    assert "truth" not in drawn


def test_the_units_shown_are_those_where_anything_is_largest():
    values = np.zeros((2, MAX_UNITS + 3))
    values[0, [0, 7]], values[1, 20] = 0.05, -4
    values[0, [9, 22]], values[1, 5] = 1, 0.09
    shown, folded, most = fold_units(values)
    assert list(shown) == [5, 9, 20, 22]
    assert sorted([*shown, *folded]) == list(range(MAX_UNITS + 3))
    assert most == 0.05
    many = fold_units(np.arange(1.0, 40)[None])
    assert list(many.shown) == list(range(39 - MAX_UNITS, 39))
    assert many.line == "15 others, all ≤ 15"
    # A line about one unit would take as much room as the unit.
    assert list(fold_units(np.array([[0.0, 1.0, 1.0]])).shown) == [0, 1, 2]


def test_curve_puts_the_run_at_its_own_noise():
    run = small_runs.full()
    drawn = lines_of(plots.plot_curve(run, "exact"))
    point = drawn["net"]
    ratio = next(one.ratio for one in run.verdicts if one.inverse == "net")
    np.testing.assert_array_equal(point.get_ydata(), [ratio])
    assert np.asarray(point.get_xdata()).item() == pytest.approx(0.8, rel=0.15)


@pytest.mark.slow
def test_spreads_are_of_every_unit_that_the_posterior_covers():
    run = small_runs.of_two_in_six()
    mean, std = plots.plot_spreads(run, "hmc", "dropout").axes
    law, samples = run.posteriors["hmc"], run.tree["random_inverses"].to_dataset().isel(sampler=0)
    points = mean.get_lines()[1], std.get_lines()[1]
    np.testing.assert_array_equal(points[0].get_xdata(), law.mean.to_numpy().ravel())
    np.testing.assert_array_equal(points[0].get_ydata(), samples["mean"][:2].to_numpy().ravel())
    np.testing.assert_allclose(points[1].get_xdata(), law.draws.std(("chain", "draw")).data.ravel())
    np.testing.assert_array_equal(points[1].get_ydata(), samples["std"][:2].to_numpy().ravel())


def test_ladder_is_of_risks_or_of_ratios_without_truth():
    assert "relative risk" in plots.plot_ladder(small_runs.full(), "exact").axes[0].get_xlabel()
    axes = plots.plot_ladder(small_runs.without_truth(), "gibbs").axes[0]
    assert "posterior variance" in axes.get_xlabel()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["net", "dense"]


def test_ranks_break_ties_evenly():
    draws = np.zeros((4, 500, 1))
    draws[:, ::2] = 1.0
    ranks = _untied_ranks(draws)
    assert sorted(ranks.ravel()) == list(range(draws.size))
    assert ranks[draws == 0].max() < ranks[draws == 1].min()
    # By chance alone no chain's mean rank is far from the others': sd of each is 26.
    assert np.ptp(ranks.mean(axis=(1, 2))) < 4 * 26 * np.sqrt(2)


def test_worst_units_are_stuck_first_then_slow_and_never_constant():
    rng = np.random.default_rng(1)
    h = rng.normal(size=(4, 200, 2, 3))
    h[:, :, 0, 0] = 0.7
    h[:, :, 1, 2] = np.arange(4)[:, None]
    h[:, :, 1, 0] = np.cumsum(h[:, :, 1, 0], axis=1)
    posterior = from_draws("gibbs", h, np.ones((2, 4)))
    units = list(worst_units(posterior, 6)["unit"].to_numpy())
    assert units[:2] == ["obs 1, unit 2", "obs 1, unit 0"]
    assert "obs 0, unit 0" not in units
    assert len(units) == 5


def test_the_bars_of_the_gap_lead_from_the_net_to_bayes():
    run = small_runs.with_rungs()
    figure = plots.plot_gap(pr.split_gap(run, "exact"), "exact")
    (ax,) = figure.axes
    rows = rows_of(run)
    ladder = ["universal", "calibrated", "scalar", "first_step", "converged", "posterior"]
    risks = [rows["relative_risk", name, "exact"].value for name in ladder]
    trained = rows["relative_risk", "trained", "exact"].value
    bars = [sorted([bar.get_x(), bar.get_x() + bar.get_width()]) for bar in ax.patches]
    pairs = [*pairwise(risks), (risks[1], trained)]
    np.testing.assert_allclose(bars, [sorted(pair) for pair in pairs], rtol=1e-9)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == "bias\nuniversal → calibrated"
    assert labels[-2:] == ["rest\nconverged → exact", "weights\ncalibrated → trained"]


def test_no_two_rungs_look_alike():
    assert len(set(marks(small_runs.with_rungs()).values())) == len(RUNGS)
