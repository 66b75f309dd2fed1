"""What tests of several analyses share."""

import pytest

from analyses import third_party


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """An empty folder in place of the one that packages are installed in."""
    monkeypatch.setattr(third_party, "PACKAGES", tmp_path)
    return tmp_path
