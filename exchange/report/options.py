"""Options that only some reports have, by report: apart from them, so that the command line loads none of them."""

from typing import Final

from exchange.report.shape import Argument

CONVERSIONS: Final = Argument("conversions", "CSV of all conversions: advertiser, user_id | email | sha256, time "
                              "(default: conversions.csv in the ledger)", file=True)  # fmt: skip
LOOK_BACK: Final = Argument("look_back", "days before a conversion in which an ad may be its last touch", 30, 0, 3650)
OWNING: Final = (
    Argument("opt_in", "what an opt-in costs once", None, 0, 1e9),
    Argument("owned_cost", "what an owned contact costs a month", 0.01, 0, 1e9),
    Argument("survival", "share of owned contacts left after a month (default 0.75^(1/12))", None, 0, 1),
    Argument("discount", "discount rate a year; 0.1 = 10 %", 0.0, 0, 1e3),
)
OPTIONS: Final[dict[str, tuple[Argument, ...]]] = {
    "rerent_curve": (Argument("worth", "what a click is worth (default: as the buyers value it)", None, 0, 1e9),),
    "own_resale": (CONVERSIONS, LOOK_BACK),
    "own_vs_rent": (
        Argument("customers", "how many customers; without a ledger", None, 1, 1e12),
        Argument("contacts", "rented contacts of a customer a month", None, 0, 1e6),
        Argument("cpm", "price of 1,000 rented contacts", None, 0, 1e6),
        *OWNING,
    ),
    "attribution": (CONVERSIONS, LOOK_BACK),
    "ad_load": (
        Argument("utility", "of a visit without ads, over staying away", 0.0, -700, 700),
        Argument("dislike", "of one ad", 0.1, 1e-9, 1e9),
    ),
}
