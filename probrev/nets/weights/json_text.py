"""JSON of a file, read where it does not take memory without end."""

import json
from typing import Any

from probrev.plumbing.refusal import Refusal

# Bytes, and lists, objects and their items: each takes many times the bytes that it is written in.
_MOST_BYTES, _MOST_ITEMS = 2**26, 2**18


def read_json(text: bytes | str) -> Any:
    """What a text in JSON says.

    Raises:
        ValueError: it is none, has too many items, or is nested without end.
    """
    data = text.encode(errors="replace") if isinstance(text, str) else text
    if len(data) > _MOST_BYTES or sum(map(data.count, (b",", b"[", b"{"))) > _MOST_ITEMS:
        raise Refusal(f"its JSON has more than {_MOST_BYTES} bytes or {_MOST_ITEMS} items")
    try:
        return json.loads(data)
    except RecursionError:
        raise Refusal("its JSON is nested without end") from None
