from pathlib import Path

import numpy as np
import pytest

from probrev.runs.registry import ModelInfo, ModelParameter
from probrev.runs.settings import parse_settings, parse_value


def parameter(annotation: str, name: str = "value", default: str | None = "None"):
    return ModelParameter(name, annotation, default, "")


def info(*parameters):
    return ModelInfo("toy", Path("toy.py"), "", "", parameters)


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        ("int", "12", 12),
        ("float", "1e-3", 1e-3),
        ("float", "2", 2.0),
        ("bool", "false", False),
        ("bool", "True", True),
        ("str", "12", "12"),
        ("str", "a=b", "a=b"),
        ("Path", "a/b", Path("a/b")),
        ("pathlib.Path", "a/b", Path("a/b")),
        ("int | None", "none", None),
        ("int | None", "3", 3),
        ("Optional[float]", "none", None),
        ("Optional[float]", "3", 3.0),
        ("'int | None'", "3", 3),
        ("str | None", "None", None),
        ("str | float", "0.5", 0.5),
        ("Literal['relu', 'identity']", "identity", "identity"),
        ("Literal['relu', 2]", "2", 2),
        ("tuple[int, ...]", "400,64", (400, 64)),
        ("Sequence[float]", "0.5, 2", (0.5, 2.0)),
        ("float | Sequence[float]", "0.5,2", (0.5, 2.0)),
        ("ArrayLike", "0.25", 0.25),
        ("", "0.25", 0.25),
        ("", "(1, 2)", (1, 2)),
        ("", "plain", "plain"),
    ],
)
def test_values_are_read_by_annotation(annotation, text, expected):
    value = parse_value(parameter(annotation), text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ("int", "1.5"),
        ("int", ""),
        ("float", "half"),
        ("bool", "1"),
        ("int | None", "nothing"),
        ("Literal['relu', 'identity']", "tanh"),
        ("tuple[int, ...]", "400,"),
        ("ArrayLike", "weights.csv"),
        ("Array | None", "weights"),
        ("Callable[[], Array]", "f"),
    ],
)
def test_a_value_of_another_type_names_parameter_type_and_value(annotation, text):
    with pytest.raises(ValueError, match="value=") as caught:
        parse_value(parameter(annotation), text)
    assert f"expected {annotation}, got {text!r}" in str(caught.value)


@pytest.mark.parametrize(
    "annotation",
    ["ArrayLike", "np.ndarray | None", "jax.Array", "Float[Array, 'visible hidden'] | None"],
)
def test_array_files(tmp_path, annotation):
    weights = np.array([[1.5, -2.0], [0.25, 3.0], [0.0, -1.0]])
    np.save(tmp_path / "w.npy", weights)
    np.testing.assert_array_equal(parse_value(parameter(annotation), f"{tmp_path}/w.npy"), weights)


def test_array_files_that_cannot_be_read(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "several", a=np.ones(2))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    for name in ("objects.npy", "empty.npy", "missing.npy"):
        with pytest.raises(ValueError, match=f"cannot read the array file .*{name}"):
            parse_value(parameter("ArrayLike"), f"{tmp_path}/{name}")
    with pytest.raises(ValueError, match=r"several\.npy: it holds several arrays"):
        parse_value(parameter("ArrayLike"), f"{tmp_path}/several.npy")


def test_settings_by_name():
    toy = info(parameter("int", "n_visible"), parameter("str", "label", None))
    assert parse_settings(toy, ["label=a=b", "n_visible=4"]) == {"label": "a=b", "n_visible": 4}


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["n_visible"], "--set n_visible: expected name=value"),
        (["n_visble=3"], r"no parameter 'n_visble' \(did you mean 'n_visible'\?\)"),
        (["other=3"], "its parameters: n_visible, label"),
        (["n_visible=3", "n_visible=4"], "n_visible is set twice"),
        (["n_visible=3"], "model toy needs label: add --set label="),
    ],
)
def test_bad_settings(assignments, message):
    toy = info(parameter("int", "n_visible"), parameter("str", "label", None))
    with pytest.raises(ValueError, match=message):
        parse_settings(toy, assignments)


def test_model_without_parameters():
    assert parse_settings(info(), []) == {}
    with pytest.raises(ValueError, match="its parameters: none"):
        parse_settings(info(), ["a=1"])
