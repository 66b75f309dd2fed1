import hashlib
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from probrev.runs.provenance import provenance

WEIGHTS = np.array([[1.5, -2.0], [0.25, 3.0], [0.0, -1.0]])


def make(**parameters):
    return provenance(
        model="my model.py",
        source="# é\n",
        parameters=parameters,
        seed=7,
        command=["probrev", "compare", "my model.py", "--seed", "7"],
        methods={"exact": "it is quick"},
    )


def test_record_is_json():
    record = make(n_visible=3)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["command"] == "probrev compare 'my model.py' --seed 7"
    assert (record["model"], record["seed"], record["model_source"]) == ("my model.py", 7, "# é\n")
    assert record["created"].endswith("+00:00")
    assert record["num_cpus"] >= 1
    versions = record["versions"]
    assert set(versions) == {"python", "probrev", "jax", "numpyro", "arviz", "numpy"}
    assert versions["numpy"] == np.__version__


def test_parameters_survive_as_json():
    parameters = make(
        weights=WEIGHTS,
        transposed=WEIGHTS.T,
        on_device=jnp.asarray(WEIGHTS),
        noise_std=np.float64(1.4),
        scalar=jnp.asarray(0.5),
        path=Path("a/b.csv"),
        none=None,
        widths=(3, 2),
    )["parameters"]
    digest = hashlib.sha256(WEIGHTS.tobytes()).hexdigest()
    expected = {"shape": [3, 2], "dtype": "float64", "sha256": digest}
    assert parameters["weights"] == parameters["on_device"] == expected
    assert (
        parameters["transposed"]["sha256"] == hashlib.sha256(WEIGHTS.T.copy().tobytes()).hexdigest()
    )
    assert (parameters["noise_std"], parameters["scalar"]) == (1.4, 0.5)
    assert (parameters["path"], parameters["none"], parameters["widths"]) == (
        "a/b.csv",
        None,
        [3, 2],
    )


def test_nothing_of_this_machine_but_its_platform():
    record = make(n_visible=3)
    text = json.dumps(record)
    assert str(Path.cwd()) not in text
    assert str(Path.home()) not in text
