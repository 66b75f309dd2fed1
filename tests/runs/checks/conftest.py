import pytest


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of 20 simulations."""
    monkeypatch.setattr("probrev.runs.checks.check.BATCH_SIZE", 20)
