"""The vocabulary: a number for each value that a target or the people store mentions, per attribute.

0 = missing, 1 = stated, but nobody mentions it, from 2 on the values in the order they came. It only grows: a number
once given is never given again, so what is compiled stays true while campaigns come and go.
"""

from typing import Final

from exchange.audience.attributes import ATTRIBUTES, HOURS, NUMBER, WEEK_HOURS

MISSING: Final = 0
OTHER: Final = 1
FIRST: Final = 2  # the first value's number
VALUES_MAX: Final = 1 << 22  # of one attribute


class Vocabulary:
    """Numbers of values. `version` grows with every new value: what was encoded before must be encoded again."""

    def __init__(self) -> None:
        self.ids: dict[str, dict[str, int]] = {a.name: {} for a in ATTRIBUTES if a.kind not in (NUMBER, HOURS)}
        self.version = 0
        self.mentioned: set[str] = set()  # attributes that some target asks about

    def id(self, attribute: str, value: str | int) -> int:
        """The number of a value, given now if it has none. Raises ValueError beyond VALUES_MAX."""
        if isinstance(value, int):
            return FIRST + value
        ids = self.ids[attribute]
        found = ids.get(value)
        if found is None:
            if len(ids) >= VALUES_MAX:
                raise ValueError(f"{attribute} {value!r}: more than {VALUES_MAX} values")
            found = ids[value] = FIRST + len(ids)
            self.version += 1
        return found

    def mention(self, attribute: str) -> None:
        """Some target asks about this attribute: from now on queries carry it."""
        if attribute not in self.mentioned:
            self.mentioned.add(attribute)
            self.version += 1

    def size(self, attribute: str) -> int:
        """One more than the largest number of a value so far."""
        return FIRST + (WEEK_HOURS if attribute == "hour" else len(self.ids[attribute]))
