from pathlib import Path

import pytest

from probrev.runs import registry

ROOT = Path(__file__).parents[2]

SOURCE = '''"""Two units and a sign.

More text.
"""
from dataclasses import dataclass

@dataclass
class Toy:
    """Needs its module to be registered while it is made."""
    n_visible: int

def build(n_visible: int = 3, *, weights: "Array" = None, keep_prob: float, tail=0.25):
    """Builds it.

    Args:
        n_visible: visible units,
            two lines long.
        keep_prob: chance: to stay.

    Returns:
        tail: not an argument.
    """
    return Toy(n_visible)
'''


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy-model.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_describe_reads_the_source_and_runs_nothing(tmp_path):
    path = tmp_path / "toy.py"
    path.write_text(SOURCE + "\nraise RuntimeError('must not run')\n", encoding="utf-8")
    info = registry.describe(str(path))
    assert (info.name, info.path, info.summary) == (str(path), path, "Two units and a sign.")
    assert info.source.endswith("('must not run')\n")
    assert [(p.name, p.annotation, p.default, p.meaning) for p in info.parameters] == [
        ("n_visible", "int", "3", "visible units, two lines long."),
        ("weights", "'Array'", "None", ""),
        ("keep_prob", "float", None, "chance: to stay."),
        ("tail", "", "0.25", ""),
    ]


def test_load_returns_build(toy):
    build = registry.load(str(toy))
    assert build(5, keep_prob=0.5).n_visible == 5


def test_arguments_include_defaults(toy):
    build = registry.load(str(toy))
    given = registry.arguments(build, {"keep_prob": 0.7})
    assert given == {"n_visible": 3, "weights": None, "keep_prob": 0.7, "tail": 0.25}


OBSERVED = """def build(scale: float = 2.0, offset: float = 0.5):
    return Model()

class Model: ...
"""


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ("", None),
        (
            "def observe(key, model, num_obs, offset, extra=9):\n"
            "    return type(model).__name__, key, num_obs, offset, extra\n",
            ("Model", "key", 7, 0.5, 9),
        ),
    ],
)
def test_a_hook_is_given_what_it_names_of_builds_arguments(tmp_path, hook, expected):
    path = tmp_path / "observed.py"
    path.write_text(OBSERVED + hook, encoding="utf-8")
    build = registry.load(str(path))
    arguments = registry.arguments(build, {"scale": 3.0})
    given = {"key": "key", "model": build(), "num_obs": 7}
    assert registry.call_hook(build, "observe", arguments, **given) == expected


def test_a_hook_that_cannot_be_called_is_refused(tmp_path):
    path = tmp_path / "observed.py"
    path.write_text(OBSERVED + "def observe(key, model, num_obs, gain): ...\n", encoding="utf-8")
    build = registry.load(str(path))
    with pytest.raises(
        ValueError, match=r"missing a required argument: 'gain'.*any of build's: scale, offset"
    ):
        registry.call_hook(
            build, "observe", registry.arguments(build, {}), key="key", model=build(), num_obs=7
        )


def test_every_file_in_models_is_a_named_model():
    paths = {path.stem: path for path in (ROOT / "models").glob("*.py")}
    assert paths
    assert registry.available() == paths


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.py")), ids=lambda path: path.stem)
def test_named_models_document_every_parameter(path):
    info = registry.describe(path.stem)
    assert info.summary.endswith(".")
    assert [p.name for p in info.parameters if not p.meaning] == []
    assert [p.name for p in info.parameters if not p.annotation or p.default is None] == []


def test_unknown_name_lists_models_and_close_ones():
    with pytest.raises(
        ValueError, match=r"unknown model 'one_laier' \(did you mean 'one_layer'\?\)"
    ):
        registry.find("one_laier")
    with pytest.raises(ValueError, match=r"named models: .*baby_linear, .*one_layer"):
        registry.find("zzz")


@pytest.mark.parametrize("name", ["missing.py", "folder/missing"])
def test_missing_file(name):
    with pytest.raises(ValueError, match=f"no model file {name}"):
        registry.find(name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def build(:\n", r"not valid Python: .*line 1"),
        ("build = None\n", "defines no function build"),
        ("class build: ...\n", "defines no function build"),
    ],
)
def test_file_that_describes_no_model(tmp_path, source, message):
    path = tmp_path / "bad.py"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.py.*{message}"):
        registry.describe(str(path))


def test_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "bad.py"
    path.write_bytes(b'"""caf\xe9"""\n')
    with pytest.raises(ValueError, match=r"bad\.py is not valid Python"):
        registry.describe(str(path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("x = 1\n", "defines no function build"),
    ],
)
def test_file_that_does_not_load(tmp_path, source, message):
    path = tmp_path / "bad.py"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.py.*{message}"):
        registry.load(str(path))
