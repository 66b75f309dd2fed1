"""No method asks what a model, a prior or an activation is: it asks what they offer."""

import ast
from pathlib import Path

import pytest

import probrev
from probrev.model.activations import NAMED

ROOT = Path(probrev.__file__).parent
KINDS = {
    "LayeredModel", "BoltzmannMachine", "BinaryLayers", "Layer", "SparsePrior", "SpikeAndSlab",
    "KSparse", "FiniteSlab", "LogQuadraticSlab", "Activation", "Relu", "Identity", "LeakyRelu",
    "ClippedRelu", "Threshold", "Increasing",
}  # fmt: skip
# The rooms in which they live.
OWN = ("model", "boltzmann")
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in OWN]


def kinds_asked_for(source):
    """Lines that hold a class against one of the kinds: by isinstance, issubclass or type()."""
    found = []
    for node in ast.walk(ast.parse(source)):
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        asks = is_call and node.func.id in ("isinstance", "issubclass")
        if asks or (isinstance(node, ast.Compare) and "type(" in ast.unparse(node)):
            names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            names |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
            found += [node.lineno] if names & KINDS else []
    return found


def test_no_file_asks_for_a_kind():
    found = {str(path): kinds_asked_for(path.read_text(encoding="utf-8")) for path in FILES}
    assert {path: lines for path, lines in found.items() if lines} == {}


def names_asked_for(source):
    """Lines that hold something against the name of an activation, or look it up by one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare | ast.MatchValue | ast.Dict | ast.Subscript):
            constants = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
            found += [node.lineno] if constants & {*NAMED, "leaky_relu", "clipped_relu"} else []
    return found


def test_no_file_asks_for_the_name_of_an_activation():
    own = ROOT / "model" / "activations.py"
    files = [path for path in sorted(ROOT.rglob("*.py")) if path != own]
    found = {str(path): names_asked_for(path.read_text(encoding="utf-8")) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}
    assert names_asked_for(own.read_text(encoding="utf-8"))


def test_a_name_would_be_seen():
    assert names_asked_for('if str(layer.activation) == "relu": pass') == [1]
    assert names_asked_for('slope = {"identity": 1.0}[name]') == [1, 1]


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(layer.activation, pr.Relu)",
        "isinstance(model, LayeredModel)",
        "isinstance(prior.slab, int | slabs.FiniteSlab)",
        "type(model) is pr.LayeredModel",
    ],
)
def test_it_would_be_seen(source):
    assert kinds_asked_for(source) == [1]
