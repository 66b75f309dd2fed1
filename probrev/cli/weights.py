"""`probrev weights`: are a net's trained weights like random ones?"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from probrev.cli.flags import AsJson, Quiet
from probrev.cli.numbers import Seed
from probrev.cli.output import check_folder, default_folder
from probrev.nets.weights.initializers import check_initializer
from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import Refusal


def weights(
    file: str,
    /,
    *,
    initializer: str = "",
    unfolded: Annotated[bool, Parameter(negative="")] = False,
    seed: Seed = 0,
    out: Path | None = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Holds the trained weights in a file against random ones, layer by layer; writes a page.

    Prints what of the file is in no layer, and why; which batch normalisations were folded in; and
    what the file does not say and was taken so.

    Args:
        file: .npy, .npz, safetensors, HDF5 (Keras), .keras or a torch state dict, or the index.json
            of shards; FILE:TENSOR for one tensor, by its name or the end of it. Nothing is run.
        initializer: what drew the weights before training, if the file does not say:
            glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, or
            torch (its default for linear and convolutional layers).
        unfolded: leave batch normalisations out; by default they are folded into the weights.
        seed: random seed of the controls.
        out: folder for report.html; by default runs/<file>-<UTC time>.
        quiet: say nothing on stderr but errors.
        as_json: print every measure as JSON, and nothing else, on stdout.
    """
    check_path("file", file)
    path, tensor = split_tensor(file)
    check_initializer(initializer)
    if not path.is_file():
        raise Refusal(f"{path}: expected a file of weights; got a folder, or no regular file")
    folder = out or default_folder(path.name)
    check_folder(folder)

    from probrev.cli.display import stages
    from probrev.cli.weighing import as_json_text, print_layers, weigh, write
    from probrev.nets.weights.layers import read_layers

    trained = read_layers(path, tensor, initializer)
    with stages(quiet) as stage:
        layers = weigh(trained, unfolded, seed, stage(f"layers of {path.name}"))
    page = write(layers, folder, path, file, initializer, unfolded, seed)
    if as_json:
        print(as_json_text(layers, trained, page))
    else:
        print_layers(layers, trained, unfolded, page)


def split_tensor(file: str) -> tuple[Path, str | None]:
    """The path and the tensor's name of FILE[:TENSOR]; both may hold colons.

    Raises:
        ValueError: no part before a colon, nor all of it, is a file.
    """
    parts = file.split(":")
    for count in range(len(parts), 0, -1):
        path = Path(":".join(parts[:count]))
        if path.exists():
            return path, ":".join(parts[count:]) or None
    raise Refusal(f"no file {parts[0]}: give a file of weights, or FILE:TENSOR")
