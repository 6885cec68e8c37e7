"""The revenue-optimal reserve for a known distribution of values.

Source: Myerson (1981): the value at which the virtual value v - (1 - F(v)) / f(v) is zero.
"""

from exchange.config import Distribution


def optimal_reserve(distribution: Distribution) -> float:
    """Myerson's reserve, CPM. Raises ValueError for a distribution whose optimum is not known in closed form."""
    if distribution.uniform is not None:
        low, high = distribution.uniform
        return max(low, high / 2)
    if distribution.exponential is not None:
        return distribution.exponential
    raise ValueError("expected uniform or exponential")
