"""Simulation: the market step in a compiled loop over a population.

The package itself can be called: `exchange.simulate(config, auctions, seed) -> Run`.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that is also its main function, whichever of the two was imported first."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from exchange.simulate.run import simulate

        return simulate(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
