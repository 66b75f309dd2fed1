"""How long work reports how far it is."""

from collections.abc import Callable

# Called with the units of work done so far and in all.
Progress = Callable[[int, int], None]
