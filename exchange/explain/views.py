"""What a request states, as targets may ask it, and what the exchange knows of the person besides."""

from collections.abc import Sequence
from typing import Any

from exchange.auction.venue import Venue
from exchange.facts.sources import view_of_request
from exchange.opportunity import Opened


def views_of(venue: Venue, opened: Opened, person_key: int, floors_nano: Sequence[int]) -> list[dict[str, Any]]:
    """A view of person and imp for each imp, without what only advertisers know of the person.

    floors_nano: of each imp in the ledger's currency. The hidden attributes `fit` and `blocked` are among them.
    """
    known = stored_segments(venue, person_key)
    person, imps = view_of_request(opened.request, opened.now_ns, floors_nano, known)
    return [{**person, **imp} for imp in imps]


def stored_segments(venue: Venue, person_key: int) -> list[str]:
    """The segments that the people store has of a person, by name."""
    if not person_key or venue.store is None:
        return []
    mine = set(venue.store.segments(person_key))
    return sorted(name for name, number in venue.targets.vocabulary.ids["seg"].items() if number in mine)
