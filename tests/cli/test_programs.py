"""Compiled programs that are kept between commands."""

import os
import subprocess
import sys

import jax
import pytest

from probrev.cli import programs

SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
SCRIPT = """
import jax, numpy as np
from probrev.cli.programs import keep_programs
keep_programs()
print(jax.jit(lambda x: np.pi * x)(2.0))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder of the user's, and JAX's settings as they were afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(programs.SWITCH)
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def test_what_one_process_compiles_another_finds_and_a_spoilt_one_is_compiled(cache):
    def run():
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True,
            check=True, env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout, {
            path.name: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()
        }

    said, kept = run()
    assert said.startswith("6.28")
    assert kept
    assert run() == (said, kept)
    for path in cache.rglob("*-cache"):
        path.write_bytes(path.read_bytes()[:20])
    assert run()[0] == said


def test_the_longest_unused_go_where_there_are_too_many(cache, monkeypatch):
    monkeypatch.setattr(programs, "MOST_BYTES", 100)
    folder = cache / "probrev" / "programs" / "of an older version"
    folder.mkdir(parents=True)
    for age in range(5):
        path = folder / f"{age}"
        path.write_bytes(bytes(20))
        os.utime(path, (1000 - age, 1000 - age))
    programs.keep_programs()
    assert len(list(folder.iterdir())) == 5
    (folder / "5").write_bytes(bytes(1))
    jax.config.update("jax_compilation_cache_dir", None)
    programs.keep_programs()
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1", "5"]


@pytest.mark.parametrize("why", ["off", "no folder", "JAX has one"])
def test_nothing_is_kept(cache, monkeypatch, why):
    expected = None
    if why == "off":
        monkeypatch.setenv(programs.SWITCH, "off")
    elif why == "no folder":
        (cache / "probrev").write_text("a file")
    else:
        expected = "elsewhere"
        jax.config.update("jax_compilation_cache_dir", expected)
    programs.keep_programs()
    assert jax.config.jax_compilation_cache_dir == expected
