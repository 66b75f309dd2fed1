"""The analysis of fits at a tiny size."""

import pytest

from analyses import fit_recovery


@pytest.mark.slow
def test_fit_recovery(tmp_path, capsys):
    fit_recovery.compute(
        tmp_path, num_pairs=10, num_correlated=30, num_alone=1, n_visible=16, n_hidden=3,
        num_obs=150, num_warmup=40, num_samples=60,
    )  # fmt: skip
    assert fit_recovery.plot(tmp_path).stat().st_size > 10_000
    *lines, finding = capsys.readouterr().out.splitlines()
    assert any(line.split()[:4] == ["pairs", "gain", "10", "10"] for line in lines)
    assert finding.startswith("pairs: within 3 errors in at least ")
    covered = float(finding.split()[-3])
    assert covered > 0.85
