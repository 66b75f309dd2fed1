"""The analysis of agreement at a tiny size."""

import pytest

from analyses import agreement_level


@pytest.mark.slow
def test_agreement_level(tmp_path, capsys):
    tiny = {"num_obs": 6, "num_draws": 2000, "n_visible": 30, "n_hidden": 5, "max_active": 2}
    agreement_level.compute(tmp_path, num_perfect=2, num_wrong=1, **tiny)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["perfect-0", "perfect-1", "wrong-0"]
    assert agreement_level.plot(tmp_path).stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    for kind in agreement_level.PERFECT:
        assert any(line.startswith(f"{kind}: 0 of 2 flagged") for line in lines)
    for kind in agreement_level.WRONG:
        assert any(line.startswith(f"{kind}: ") for line in lines)
    assert any(line.startswith("3 h + 1: 1 of 1 flagged") for line in lines)
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        agreement_level.plot(tmp_path / "nothing")
