"""Analyses are scripts: they import what lies beside them, as they do when they are run."""

from pathlib import Path

import pytest

ANALYSES = Path(__file__).parent.parent.parent / "analyses"


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch):
    monkeypatch.syspath_prepend(ANALYSES)
