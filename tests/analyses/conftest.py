"""Analyses are scripts: they import what lies beside them, as they do when they are run."""

import importlib
from pathlib import Path

import pytest

ANALYSES = Path(__file__).parent.parent.parent / "analyses"


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch):
    monkeypatch.syspath_prepend(ANALYSES)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """An empty folder in place of the one that packages are installed in."""
    monkeypatch.setattr(importlib.import_module("third_party"), "PACKAGES", tmp_path)
    return tmp_path
