"""Whether the values of options are of the types that their dataclass says: YAML reads 1e-3 as text."""

from __future__ import annotations

import functools
import math
from typing import Any, get_args, get_origin, get_type_hints

from nopairs.errors import NopairsError

WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
EXAMPLES = {int: ", such as 1000", float: ", such as 0.5 or 1.0e-3"}

# Asked for by every check of an entry.
hints_of = functools.cache(get_type_hints)


def check_types(options_class: Any, kind: str, options: dict[str, Any]) -> None:
    """Compare options with the fields of their dataclass; a type that is not in `WORDS` is left alone.

    Raises:
        NopairsError: a value of another type, or a number that is not finite.
    """
    hints = hints_of(options_class)
    for name, value in options.items():
        hint = hints[name]
        if not _fits(value, hint):
            raise NopairsError(
                f"{kind}: {name} is {_told(value)}; write {_wanted(hint)}{EXAMPLES.get(hint, '')}"
            )


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if not isinstance(value, list | tuple):
            return False
        if parts[-1] is Ellipsis:
            return all(_fits(item, parts[0]) for item in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if hint is float:
        return _fits(value, int) or (isinstance(value, float) and math.isfinite(value))
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint not in WORDS or isinstance(value, hint)


def _told(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value!r}, text" if isinstance(value, str) else repr(value)


def _wanted(hint: Any) -> str:
    if get_origin(hint) is tuple:
        parts = ("..." if part is Ellipsis else _wanted(part) for part in get_args(hint))
        return f"[{', '.join(parts)}]"
    return WORDS.get(hint, "a value")
