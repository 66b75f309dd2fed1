"""NumPyro with all its modules in place.

ArviZ puts a stand-in for NumPyro that loads when it is used. A script that imports ArviZ, and then
a module of NumPyro before NumPyro itself, has packages that lack some of their modules, and NUTS
ends in an AttributeError.
"""

import sys

import numpyro.infer  # noqa: F401

for name, module in list(sys.modules.items()):
    package, _, own = name.rpartition(".")
    if name.startswith("numpyro.") and not hasattr(sys.modules[package], own):
        setattr(sys.modules[package], own, module)
