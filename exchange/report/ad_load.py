"""The report `ad_load`: how many ads a publisher may show before visitors stay away. Needs no ledger."""

from math import exp
from typing import Final

from exchange.report.asking import Books
from exchange.report.formulas import ad_load
from exchange.report.shape import Amount, Answer, Axis, Chart, Figure, Mark, Point, Report, Series, Text

TITLE: Final = "Ad load"
QUESTION: Final = "how many ads a visit bring the most impressions?"
BY: Final[tuple[str, ...]] = ()
ALONE: Final = True
STEPS: Final = 60  # points of the curve


def build(books: Books | None, by: tuple[str, ...] = (), utility: float = 0.0, dislike: float = 0.1) -> Report:
    """The best load for visitors who weigh a visit against staying away."""
    best = ad_load(utility, dislike)
    amounts = {"load": Amount(best.load, "number"), "comes": Amount(best.comes, "share"),
               "seen": Amount(best.impressions, "number")}  # fmt: skip
    curve = [3 * best.load * k / STEPS for k in range(STEPS + 1)]
    points = [Point(load, load / (1 + exp(min(700.0, dislike * load - utility)))) for load in curve]
    figures = [
        Figure("load", "ads a visit", best.load, "number", "The load that brings the most impressions.",
               "(1 + W(e^(u - 1))) / kappa", 0),
        Figure("weariness", "weariness of it", best.load * dislike, "number", "Load x dislike of one ad.",
               "kappa a* = 1 + W(e^(u - 1))", 0),
        Figure("comes", "who still comes", best.comes, "share", "Probability that a visitor comes at this load.",
               "W / (1 + W)", 0),
        Figure("impressions", "impressions", best.impressions, "number", "Expected impressions of a would-be visitor.",
               "W(e^(u - 1)) / kappa", 0),
    ]  # fmt: skip
    return Report(
        name="ad_load", title=TITLE, question=QUESTION, rows=0, figures=figures,
        answers=[Answer("How many ads?", [Text("{load} a visit: {comes} of the visitors still come, and each would-be "
                                               "visitor sees {seen}.", amounts)])],
        charts=[Chart("load", "Impressions by ad load", "line", [Series("impressions", points)],
                      Axis("ads a visit", "number"), Axis("impressions", "number"),
                      Text("Impressions rise up to {load} ads a visit and fall beyond.", amounts),
                      [Mark(best.load, "best")])],
        notes=[Text("A visitor comes with probability e^(u - kappa a) / (1 + e^(u - kappa a)), u being what the "
                    "visit is "
                    "worth to him over staying away, a the ads, kappa how much he dislikes one.")],
    )  # fmt: skip
