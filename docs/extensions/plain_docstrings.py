"""Docstrings are plain text: but for Google's sections and backticks, no sign in them is markup.

A name in backticks, and a type in a signature, links to its entry in the reference if it has one.
"""

import re

from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.typing import stringify_annotation

import probrev

# A bar, an asterisk, or an underscore that ends a word: in a formula not what RST takes it for.
_SIGNS = re.compile(r"(`+[^`]*`+)|([|*\\]|_(?!\w))")
# Unions that have a name, which Python does not keep.
_UNIONS = {
    stringify_annotation(PRNGKeyArray, "smart"): "PRNGKeyArray",
    stringify_annotation(ArrayLike, "smart"): "ArrayLike",
}


def _escape(line):
    return _SIGNS.sub(lambda found: found[1] or "\\" + found[2], line)


def _shorten(text):
    for union, name in _UNIONS.items():
        text = text and text.replace(union, name)
    return text


def _process(app, what, name, obj, options, lines):
    # Of a property Google's style takes what is before a colon for its type; ours are sentences.
    what = "method" if what == "property" else what
    plain = [_escape(line) for line in lines]
    parsed = GoogleDocstring(plain, app.config, app, what, name, obj, options).lines()
    is_type = [line.startswith(":vartype") for line in parsed]
    lines[:] = [
        _escape(_shorten(line)) if of else line for line, of in zip(parsed, is_type, strict=True)
    ]


def _sign(app, what, name, obj, options, signature, returned):
    return _shorten(signature), _shorten(returned)


def _find(app, env, node, contnode):
    """A name by where it is defined, which is not where it is documented."""
    name = node.get("reftarget", "").rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in probrev.__all__:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"probrev.{name}", node, contnode
    )


def setup(app):
    """Has Sphinx call the above."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _sign)
    app.connect("missing-reference", _find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
