"""Files that are whole or absent."""

import pytest

from probrev.plumbing.replacing import replacing


def test_replacing_moves_a_whole_file_into_place(tmp_path):
    target = tmp_path / "report.html"
    target.write_text("old")
    with replacing(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
        assert partial.suffix == target.suffix
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report.html": "new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_replacing_leaves_nothing_behind_when_interrupted(tmp_path, error):
    def write():
        with replacing(tmp_path / "run.nc") as partial:
            partial.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        write()
    assert list(tmp_path.iterdir()) == []
