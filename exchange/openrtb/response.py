"""The parts of an OpenRTB bid response: read from bidders, written to sellers.

Nothing is required here and no range is checked: what a bidder leaves out or gets wrong costs that bid alone,
and `screen.py` says why. Defaults are left out when written. Source: OpenRTB 2.6-202606, section 4.2.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct


class Bid(Struct, gc=False, omit_defaults=True):
    """One bid (4.2.3), read from bidders and written to sellers. `price` is CPM; None = not given."""

    id: str = ""
    impid: str = ""
    price: float | None = None
    nurl: str = ""
    burl: str = ""
    lurl: str = ""
    adm: Annotated[str, Meta(extra={"json": True})] = ""
    adid: str = ""
    adomain: tuple[str, ...] = ()
    bundle: str = ""
    iurl: str = ""
    cid: str = ""
    crid: str = ""
    cat: tuple[str, ...] = ()
    attr: tuple[int, ...] = ()
    dealid: str = ""
    w: int = 0
    h: int = 0
    exp: int = 0  # seconds the bid stays good
    dur: int = 0  # seconds of video or audio
    mtype: int = 0  # codes.MEDIA; 0 = not given
    slotinpod: int = 0
    ext: Any = None


class SeatBid(Struct, gc=False, omit_defaults=True):
    """The bids of one buyer account (4.2.2); `group` 1 = all or none."""

    bid: tuple[Bid, ...] = ()
    seat: str = ""
    group: int = 0


class BidResponse(Struct, gc=False, omit_defaults=True):
    """A bid response (4.2.1); without a bid it is a no-bid. `nbr` None = no reason given."""

    id: str = ""
    seatbid: tuple[SeatBid, ...] = ()
    bidid: str = ""
    cur: str = ""  # empty = USD
    nbr: int | None = None
    ext: Any = None
