"""Model files, named or a user's own: found, described and loaded by path.

A model file is a Python file with a top-level function `build(**parameters)` that returns a model.
Beside it a function `observe(key, model, num_obs, ...)` may make the observations, one
`inverses(model, ...)` may add some of its own to the ladder, and one `checks(model, ...)` may say
how well a model that was fitted to a real net fits it; all are given those arguments of `build`
that they name. To describe a file reads its source and runs nothing, so that a list of models is
quick.
"""

import ast
import difflib
import importlib.util
import inspect
import sys
import tokenize
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import Refusal, TypeRefusal
from probrev.runs.fault import cause, line_at_fault

Build = Callable[..., Any]
# No model file that a person has written is longer.
MOST_BYTES = 2**24
# Modules that bring no inverse under a name of its own.
WITHOUT_INVERSES = (sys.stdlib_module_names - {"importlib", "runpy"}) | {
    "jax", "jaxtyping", "numpy", "numpyro", "probrev", "scipy",
}  # fmt: skip
# Parameter of a `build` that draws its weights.
WEIGHT_SEED = "weight_seed"


@dataclass(frozen=True)
class ModelParameter:
    """A parameter of a model's `build`, as its source states it.

    Attributes:
        name: its name.
        annotation: source of its type; "" if it has none.
        default: source of its default; None if it must be given.
        meaning: its line in the docstring of `build`.
    """

    name: str
    annotation: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class ModelInfo:
    """What the source of a model file says about it.

    Attributes:
        name: what the user calls it: a name, or the path that was given.
        path: the file.
        source: its text.
        summary: first line of its docstring.
        parameters: of `build`, in order.
        adds_inverses: whether its models may have inverses under names of their own: of a file
            that names none and imports nobody else's modules it is known, without running it, that
            they have not.
    """

    name: str
    path: Path
    source: str
    summary: str
    parameters: tuple[ModelParameter, ...]
    adds_inverses: bool = True


def available() -> dict[str, Path]:
    """Named models, by name: in the installed package, or in the checkout's `models` folder."""
    package = Path(__file__).parents[1]
    folder = package / "models"
    if not folder.is_dir() and (package.parent / "pyproject.toml").is_file():
        folder = package.parent / "models"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def find(name: str) -> Path:
    """The file of a named model, or of a path to a .py file.

    Raises:
        ValueError: there is no such model or file.
    """
    if name.endswith(".py") or "/" in name or "\\" in name:
        check_path("model file", name)
        if not Path(name).is_file():
            raise Refusal(f"no model file {name}: expected a .py file with a function build")
        return Path(name)
    models = available()
    if name not in models:
        raise Refusal(
            f"unknown model {name!r}{did_you_mean(name, models)}; named models: "
            f"{', '.join(models)}; a path to a .py file with a function build works too"
        )
    return models[name]


def describe(name: str) -> ModelInfo:
    """Reads a model file's docstring and the signature of its `build`, running nothing.

    Args:
        name: a named model, or a path to a .py file.

    Raises:
        ValueError: no such model, or the file is no Python, or defines no `build`.
    """
    path = find(name)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise Refusal(f"model file {name} has {size} bytes; expected at most {MOST_BYTES}")
    try:
        with tokenize.open(path) as file:
            source = file.read()
        tree = ast.parse(source, filename=str(path))
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
        raise Refusal(f"model file {name} is not valid Python: {cause(error)}") from error
    build = next((node for node in tree.body if _is_build(node)), None)
    if not isinstance(build, ast.FunctionDef):
        raise Refusal(f"model file {name} defines no function build: add one that returns a model")
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    parameters = tuple(_parameters(build))
    return ModelInfo(name, path, source, summary, parameters, _may_add_inverses(tree))


def load(name: str) -> Build:
    """Runs a model file and returns its `build`.

    Args:
        name: a named model, or a path to a .py file.

    Raises:
        ValueError: no such model, or its file cannot be imported, or defines no `build`.
    """
    path = find(name)
    module_name = f"_probrev_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses in the file look their module up by name
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit too
        sys.modules.pop(module_name, None)
        line = line_at_fault(error, path)
        where = name if line is None else f"{name}, line {line},"
        raise Refusal(f"model file {where} cannot be imported: {cause(error, True)}") from error
    build = getattr(module, "build", None)
    if not callable(build):
        raise Refusal(f"model file {name} defines no function build: add one that returns a model")
    return build


def arguments(build: Build, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument that `build(**settings)` gets, defaults too.

    Raises:
        ValueError: it cannot be called so.
    """
    try:
        bound = inspect.signature(build).bind(**settings)
    except (TypeError, ValueError) as error:
        raise Refusal(
            f"build cannot be called with {', '.join(settings) or 'no arguments'}: {error}"
        ) from None
    bound.apply_defaults()
    return dict(bound.arguments)


def has_hook(build: Build, name: str) -> bool:
    """Whether a model's file has an optional function of that name."""
    return hasattr(sys.modules[build.__module__], name)


def call_hook(build: Build, name: str, arguments: Mapping[str, Any], **given: Any) -> Any:
    """Calls an optional function of a model's file; None where there is none.

    Args:
        build: what `load` returned.
        name: of the function.
        arguments: those that `build` got; the function is passed the ones that it names.
        **given: what it is passed besides, by position, in this order.

    Raises:
        ValueError: the function cannot be called so.
    """
    hook = getattr(sys.modules[build.__module__], name, None)
    if hook is None:
        return None
    if not callable(hook) or isinstance(hook, type):
        raise TypeRefusal(
            f"{name} must be a function of {', '.join(given)}; got {type(hook).__name__}"
        )
    signature = inspect.signature(hook)
    known = {key: value for key, value in arguments.items() if key in signature.parameters}
    try:
        bound = signature.bind(*given.values(), **known)
    except TypeError as error:
        raise Refusal(
            f"{name} cannot be called: {error}; its arguments must be {', '.join(given)} and "
            f"any of build's: {', '.join(arguments)}"
        ) from error
    return hook(*bound.args, **bound.kwargs)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to append to an error about an unknown name; empty if no name is close."""
    close = difflib.get_close_matches(name, list(known), n=3)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def _may_add_inverses(tree: ast.Module) -> bool:
    """See `ModelInfo.adds_inverses`."""
    roots: set[str] = set()
    for node in ast.walk(tree):
        words = [getattr(node, field, None) for field in ("id", "attr", "name", "arg")]
        if any(word in ("inverses", "rungs", "setattr", "exec", "eval") for word in words):
            return True
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            roots.add("." if node.level else str(node.module).partition(".")[0])
    return not roots <= WITHOUT_INVERSES


def _is_build(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "build"


def _parameters(build: ast.FunctionDef) -> Iterable[ModelParameter]:
    meanings = _argument_docs(ast.get_docstring(build) or "")
    positional = build.args.posonlyargs + build.args.args
    absent = [None] * (len(positional) - len(build.args.defaults))
    defaults = [*absent, *build.args.defaults, *build.args.kw_defaults]
    for arg, default in zip(positional + build.args.kwonlyargs, defaults, strict=True):
        yield ModelParameter(
            name=arg.arg,
            annotation=ast.unparse(arg.annotation) if arg.annotation else "",
            default=ast.unparse(default) if default else None,
            meaning=meanings.get(arg.arg, ""),
        )


def _argument_docs(docstring: str) -> dict[str, str]:
    """The "Args:" section of a Google docstring: one text per name."""
    _, _, section = docstring.partition("\nArgs:\n")
    meanings: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        indent = len(line) - len(line.lstrip())
        if line and not indent:
            break
        if indent == 4:
            name, _, text = line.strip().partition(":")
            meanings[name] = text.strip()
        elif name and line.strip():
            meanings[name] += " " + line.strip()
    return meanings
