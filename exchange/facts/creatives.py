"""The other side of what an imp states: what a creative carries so that it fits, or is blocked, and whom badv means."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from exchange.audience.language import bare_domain
from exchange.facts.sources import INSECURE, size_text, with_parents
from exchange.openrtb import codes


def fits_of(media: int, size: tuple[int, int] | None) -> tuple[str, ...]:
    """The keys of `fit` that a creative meets: one of them must be among the imp's. media: a code of codes.MEDIA.

    A banner fits its own size, and an imp that names none; one without a size fits only the latter.
    """
    name = codes.MEDIA[media]
    if media == codes.BANNER and size:
        return f"{name} {size_text(*size)}", name
    return (name,)


def tags_of(cats: Sequence[str], attrs: Iterable[int], secure: bool) -> set[str]:
    """The values of `blocked` that bar a creative: its categories and those above, its attributes, insecurity."""
    return with_parents(cats) | {f"attr {number}" for number in attrs} | (set() if secure else {INSECURE})


def refusers(domains: Mapping[int, Iterable[str]]) -> dict[str, tuple[int, ...]]:
    """Advertisers by what in badv refuses them: their domains and all above, each also with `www.`.

    domains: of each advertiser, by its number.
    """
    found: dict[str, set[int]] = {}
    for advertiser, its in domains.items():
        for domain in its:
            for entry in above(domain):
                found.setdefault(entry, set()).add(advertiser)
    return {entry: tuple(sorted(advertisers)) for entry, advertisers in found.items()}


def above(domain: str) -> Iterator[str]:
    """A domain and all domains above it, each also with `www.`: what in badv blocks it."""
    labels = bare_domain(domain).split(".")
    for i in range(len(labels)):
        name = ".".join(labels[i:])
        yield name
        yield f"www.{name}"
