"""What a bidding rule is, how it is found, and how rules become machine addresses that `sell` calls.

A rule is a class with `defaults` (its knobs) and plain static functions on plain attributes:
`price(value, imp, me) -> int`, `learn(value, imp, me, result)` and, if it wants, `feedback(me, kind, paid)`.
Each is compiled alone (`cfunc`, cached); their addresses sit in an int64 table, so compiling the exchange does
not depend on which rules are in use. A rule numba refuses is called through Python, slower; this is said at load.
"""

from exchange.bidding.calling import call_feedback, call_learn, call_price
from exchange.bidding.compiling import Rules
from exchange.bidding.finding import (
    GROUP,
    LIBRARY,
    Rule,
    RuleError,
    installed,
    library,
    module_of,
    resolve,
    rules_in,
    snake,
)
from exchange.bidding.record import campaign_dtype, check_record, knob_type, set_knobs

__all__ = [
    "GROUP",
    "LIBRARY",
    "Rule",
    "RuleError",
    "Rules",
    "call_feedback",
    "call_learn",
    "call_price",
    "campaign_dtype",
    "check_record",
    "installed",
    "knob_type",
    "library",
    "module_of",
    "resolve",
    "rules_in",
    "set_knobs",
    "snake",
]
