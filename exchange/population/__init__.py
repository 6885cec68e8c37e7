"""The people and places that simulations and load draw from: one population, not two.

`draw`: the compiled draws; `people`: who and what there is, and its requests; `log`: a log of impressions instead.
"""

from exchange.population.draw import (
    VISIT_RECORD,
    agrees,
    converts,
    fill,
    returned,
    truth_of,
    uniforms,
    visit_of,
    when,
)
from exchange.population.log import read_log
from exchange.population.people import Population

__all__ = [
    "VISIT_RECORD",
    "Population",
    "agrees",
    "converts",
    "fill",
    "read_log",
    "returned",
    "truth_of",
    "uniforms",
    "visit_of",
    "when",
]
