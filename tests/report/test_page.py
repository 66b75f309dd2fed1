import base64
import hashlib
import json
import math
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import probrev as pr
from probrev.comparison.glossary import SENTENCES
from probrev.comparison.verdict import Word
from probrev.inference.methods import METHODS
from probrev.inverses.rung_names import RUNGS
from probrev.report import numbers
from probrev.report.gap import PARTS
from probrev.report.words import INVERSES, POSTERIORS, TERMS, Linker
from tests import small_runs

OUTSIDE = re.compile(r"https?:|//[a-z]|url\(|@import|<(link|iframe|object|base)\b")


class Outline(HTMLParser):
    """Headings, images, and text of a page; complains about what is not closed."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, html):
        super().__init__()
        self.open, self.images, self.headings, self.anchors, self.links = [], [], [], [], []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(known)
        if known.get("role") == "img":
            self.images.append({"alt": known["aria-label"]})
        if tag == "a":
            self.links.append(known["href"])
        if "id" in known:
            self.anchors.append(known["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if not {"style", "script"} & {*self.open}:
            self.text += data


def written(run, folder):
    path = folder / "report.html"
    pr.write_report(run, path)
    return path.read_text(encoding="utf-8")


SLOW_RUNS = ("of_two_in_six", "of_one", "with_rungs", "without_atom")


@cache
def html_of(name):
    with TemporaryDirectory() as folder:
        return written(small_runs.RUNS[name](), Path(folder))


def outline_of(name):
    return Outline(html_of(name))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW_RUNS else name
        for name in small_runs.RUNS
    ],
)
def test_page_is_self_contained_and_whole(name):
    html = html_of(name)
    outline = Outline(html)
    html = html.replace("http://www.w3.org/2000/svg", "", 1)  # the script's name for SVG
    images = re.sub(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', "", html)
    # What an SVG draws with is in it: url(#clip).
    assert not OUTSIDE.search(images.replace("url(#", ""))
    assert not re.search(r'\b(src|href)="(?!#)', images)
    assert all(len(one["alt"]) > 30 for one in outline.images)
    assert not re.search(r"\bnan\b|\binf\b|None", outline.text)
    assert len(outline.anchors) == len(set(outline.anchors))
    assert {link[1:] for link in outline.links} <= set(outline.anchors)


def test_full_run_has_every_section_in_order():
    outline = outline_of("full")
    assert outline.headings == [
        "The answer over noise_std", "Verdicts", "What to do next", "Setting", "Headline table",
        "Other weights", "A typical observation", "The worst observation", "Calibration",
        "Is dropout a posterior sampler?", "Support", "The ladder", "Posterior exact: diagnostics",
        "Posterior gibbs: diagnostics", "What the model predicts of x", "All numbers", "Glossary",
        "Provenance", "Text of the model file",
    ]  # fmt: skip
    assert len(outline.images) == 10
    assert "dense never says exactly 0" in outline.text
    assert "Every state was visited" in outline.text


def test_the_page_opens_with_the_verdict_and_what_it_costs():
    run = small_runs.full()
    text = outline_of("full").text
    first = run.verdicts[0]
    assert text.index(run.headline) < text.index(first.sentence) < text.index("Setting")
    assert "per observation, the posterior exact" in text
    assert "priorSpikeAndSlab(n_hidden=" in text
    assert "On this page “the net” is net. Given by whoever made this run." in text
    best = min(run.verdicts[:2], key=lambda one: one.ratio)
    assert best == first or f"The best of 2 inverses: {best.sentence}." in text
    assert numbers.with_interval(first.ratio, first.low, first.high) in text


@pytest.mark.slow
def test_models_stand_side_by_side(tmp_path):
    outline = Outline(written(small_runs.under_four_priors(), tmp_path))
    assert not re.search(r"\bnan\b|\binf\b|None", outline.text)
    assert "The models side by side" in outline.headings
    assert "against that of far." in outline.text
    assert "cannot be told apart by 6 observations" in outline.text
    assert "The evidence of the model of unknown is not known: give it" in outline.text
    assert "side by side" not in outline_of("full").text.split("drawn side by side")[-1]


def test_user_given_text_is_escaped():
    html = html_of("full")
    assert html.count("<script") == 2
    assert html.count("&lt;script&gt;") >= 6


def test_a_page_may_run_nothing_and_ask_for_nothing():
    html = html_of("full")
    (script,) = re.findall("<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
    policy += f"'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = html.split("<title>")[0]
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in head
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|\beval\b|fetch\(", script)


def test_a_page_holds_the_units_of_its_observations_for_its_script():
    run = small_runs.full()
    (text,) = re.findall(
        '<script type="application/json" id="units">(.*?)</script>', html_of("full")
    )
    data = json.loads(text)
    assert [one["name"] for one in data["inverses"]] == run.inverses
    assert sorted(one["obs"] for one in data["looks"]) == list(range(small_runs.NUM_OBS))
    errors = [one["error"] for one in data["looks"]]
    assert errors == sorted(errors)
    worst = data["looks"][-1]
    h = run.tree["inverses/h"].sel(obs=worst["obs"], hidden=worst["units"]).to_numpy()
    np.testing.assert_allclose(worst["estimates"], h, rtol=6e-3, atol=1e-4)
    mean = small_runs.exact().mean.sel(obs=worst["obs"], hidden=worst["units"])
    np.testing.assert_allclose(worst["mean"], mean, rtol=6e-3, atol=1e-4)
    truth = run.tree["truth/h"].to_numpy()[worst["obs"], worst["units"]]
    np.testing.assert_allclose(worst["truth"], truth, rtol=6e-3, atol=1e-4)


def test_a_run_from_python_says_where_it_comes_from():
    page = outline_of("without_truth").text
    assert "The call that this run is of, made from Python:" in page
    assert "probrev.compare of inverses: net, dense; posteriors: gibbs" in page
    for said in ("LayeredModel(prior=SpikeAndSlab(", "versions: jax", "platform", "process"):
        assert said in page


def test_every_inverse_and_method_has_its_entry():
    assert {*RUNGS, "as_trained"} <= set(INVERSES)
    assert {*METHODS} <= set(POSTERIORS)
    assert {str(word) for word in Word} <= set(TERMS)


def test_a_word_is_linked_where_it_first_stands_and_explained():
    linked = Linker({"own": "One's <own>."})
    first = linked("The own net & R, not R-hat; own risk_ratio <script>")
    assert first.count("<a ") == 4
    assert '<a class="word" href="#word-own" title="One&#x27;s &lt;own&gt;.">own</a>' in first
    assert "&amp;" in first
    assert "&lt;script&gt;" in first
    assert "risk_ratio" in first
    assert linked("own R") == "own R"
    assert [word for _, word, _ in linked.glossary] == ["net", "own", "R", "R-hat"]


def test_what_never_says_0_has_no_figure_of_a_support():
    rows = re.findall("<tr.*?</tr>", html_of("full"), re.DOTALL)
    own = [row for row in rows if ">dense<" in row]
    assert own
    assert not [row for row in own if "support" in row and "±" in row.split("support")[1][:60]]
    names = [one["alt"] for one in outline_of("full").images if one["alt"].startswith("F1")]
    assert names
    assert "dense" not in names[0]


def test_a_metric_of_ones_own_is_in_the_glossary():
    glossary = html_of("full").split("Glossary</h2>")[1]
    assert "Mean of an estimate over units, &lt;script&gt;" in glossary
    assert "boldness" in glossary
    assert "Not for the glossary" not in html_of("full")


@pytest.mark.slow
def test_a_loaded_run_gives_the_same_page(tmp_path):
    small_runs.full().save(tmp_path / "run.nc")
    assert written(pr.load(tmp_path / "run.nc"), tmp_path) == html_of("full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "run.nc"]


def test_without_truth_nothing_speaks_of_risk():
    outline = outline_of("without_truth")
    assert "relative risk" not in outline.text
    assert "rank test" not in outline.text
    assert "calibration cannot be checked" in outline.text
    assert "1 + excess risk / posterior variance" in outline.text
    assert "Text of the model file" not in outline.headings


@pytest.mark.slow
def test_whether_dropout_samples_from_the_posterior_is_answered():
    run = small_runs.full()
    table = run.table().query("posterior == 'exact'").set_index(["metric", "subject"])["value"]
    spread = f"spread is {table['spread_ratio', 'dropout']:.2f} ["
    ratio = table["energy_distance", "dropout"] / table["energy_distance", "posterior"]
    text = outline_of("full").text
    said = re.search(r"It is not a posterior sampler: its samples are ([\d.]+) \[", text)
    assert said is not None
    assert float(said[1]) == pytest.approx(ratio, rel=0.05)
    assert spread in text
    assert "their mean has a relative risk of" in text
    assert "their mean has a relative risk" not in outline_of("without_truth").text
    assert "One observation cannot tell whether it samples" in outline_of("of_one").text


def changed(run, metric, values):
    """A run in which the energy distance of dropout, per observation, is another."""
    tree = run.tree.copy(deep=True)
    tree[f"metrics/exact/{metric}"][:] = values
    return pr.Comparison(tree)


@pytest.mark.slow
def test_a_perfect_sampler_is_not_told_from_the_posterior(tmp_path):
    halves = np.linspace(0.1, 0.2, small_runs.NUM_OBS)
    run = changed(small_runs.full(), "energy_distance", [1.01 * halves[::-1], halves])
    assert "It cannot be told from a posterior sampler: its samples are 1.0" in written(
        run, tmp_path
    )


def test_without_random_inverses_the_page_does_not_ask(tmp_path):
    tree = small_runs.full().tree.copy()
    del tree["random_inverses"]
    assert "a posterior sampler?" not in written(pr.Comparison(tree), tmp_path)


@pytest.mark.slow
def test_a_convicted_posterior_is_pointed_out(tmp_path):
    full = small_runs.full()
    assert "rank test, p = " in outline_of("full").text
    tree = full.tree.copy(deep=True)
    reason = "the h given with x are no draws from exact (rank test, p = 0.0001)"
    tree["metrics/exact"].attrs["doubt"] = json.dumps(["misfit", reason])
    text = Outline(written(pr.Comparison(tree), tmp_path)).text
    assert f"Misfit: {reason}." in text
    assert "Not conclusive: not every posterior can be trusted and fits" in text
    assert text.index("Misfit: ") < text.index("Setting")


@pytest.mark.slow
def test_a_ladder_is_split_into_parts():
    run = small_runs.with_rungs()
    outline = outline_of("with_rungs")
    assert outline.headings.index("Where the net loses to Bayes") == (
        outline.headings.index("The ladder") + 1
    )
    parts = pr.split_gap(run, "exact")
    whole = float(parts["value"].where(parts["in_sum"]).sum())
    risk = run.table().query("metric == 'relative_risk'").set_index("subject")["value"]
    assert whole == pytest.approx(risk["universal"] - risk["posterior"], rel=1e-9)
    assert f"universal exceeds the risk of Bayes by {numbers.plain(whole)}" in outline.text
    for name in parts["part"].to_numpy():
        one = parts.sel(part=name)
        assert numbers.with_error(float(one["value"]), float(one["std_error"])) in outline.text
        assert PARTS[name] in outline.text


def test_an_inconclusive_run_says_so_and_why():
    text = outline_of("without_truth").text
    assert "Inconclusive" in text
    assert "Not conclusive: not every posterior can be trusted and fits" in text
    assert "gibbs is stuck" in text
    assert "obs 2, unit 3" in text


@pytest.mark.slow
def test_without_an_atom_there_is_no_support():
    outline = outline_of("without_atom")
    assert "Support" not in outline.headings
    assert "support" not in outline.text
    assert "Calibration" in outline.headings


@pytest.mark.slow
def test_one_observation_is_shown_once():
    outline = outline_of("of_one")
    assert "The only observation" in outline.headings
    assert "The worst observation" not in outline.headings
    assert "no interval" in outline.text


@pytest.mark.slow
def test_a_posterior_of_some_observations_shows_those():
    text = outline_of("of_two_in_six").text
    assert "hmc covers 2 of 6 observations" in text
    assert re.search(r"Observation [01], unit by unit", text)
    assert not re.search(r"Observation [2-5], unit by unit", text)


def test_a_failure_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        pr.write_report(small_runs.of_one(), path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        pr.write_report(small_runs.of_one(), tmp_path / "nowhere" / "report.html")


@pytest.mark.slow
def test_every_metric_of_a_run_is_in_its_glossary_and_every_built_in_one_is_in_some_run():
    runs = [run() for run in small_runs.RUNS.values()]
    for run in runs:
        assert set(run.glossary) == set(run.table()["metric"])
    assert {name for run in runs for name in run.glossary} == {*SENTENCES, "boldness"}


@pytest.mark.parametrize(
    ("value", "std_error", "text"),
    [
        (0.41327, 0.0519, "0.413 ± 0.052"),
        (129.7565, 3.299, "129.8 ± 3.3"),
        (0.0, 0.0, "0"),
        (0.6667, 1.1e-16, "0.667"),
        (1234.5, math.nan, "1,234"),
        (math.nan, 0.1, "–"),
        (3.2e-5, 1.7e-8, "3.20e-05 ± 1.7e-08"),
        (48211.0, 950.0, "48,211 ± 950"),
    ],
)
def test_values_are_rounded_by_their_error(value, std_error, text):
    assert numbers.with_error(value, std_error) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (4.7232, 3.4507, 6.781, "4.72 [3.45, 6.78]"),
        (1.2415, 1.0961, 1.5626, "1.24 [1.10, 1.56]"),
        (1.02913, 1.01331, 1.04702, "1.0291 [1.0133, 1.0470]"),
        (2.93, 1.24, 9.64, "2.93 [1.24, 9.64]"),
        (31.2, 12.0, 77.7, "31 [12, 78]"),
        (2.5, math.nan, math.nan, "2.50"),
    ],
)
def test_intervals_are_rounded_by_their_width(value, low, high, text):
    assert numbers.with_interval(value, low, high) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.186, "19 %"), (0.0312, "3.1 %"), (1e-5, "< 0.1 %"),
     (0.99999, "> 99.9 %"), (0.976, "97.6 %")],
)  # fmt: skip
def test_shares_are_percents(share, text):
    assert numbers.percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.71e-6, "2.7 µs"), (0.0931, "93 ms"), (5.08, "5.1 s"), (1260.0, "21 min")],
)
def test_times_have_a_unit_that_suits(seconds, text):
    assert numbers.duration(seconds) == text
