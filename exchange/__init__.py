"""Rentier: a real-time ad exchange that logs what it costs to rent, and re-rent, a customer.

The public names; nothing inside the package imports this module.
"""

from typing import TYPE_CHECKING, Any

from exchange import compiled

if TYPE_CHECKING:
    from exchange.config import load_config as load_config
    from exchange.rent.ledger import Ledger as Ledger
    from exchange.serve import serve_in_thread as serve_in_thread
    from exchange.simulate.run import Run as Run
    from exchange.simulate.run import simulate as simulate

compiled.prepare()

__version__ = "0.1.0"
__all__ = ["Ledger", "Run", "load_config", "serve_in_thread", "simulate"]
_HOMES = {
    "Ledger": "exchange.rent.ledger",
    "Run": "exchange.simulate.run",
    "load_config": "exchange.config",
    "serve_in_thread": "exchange.serve",
    "simulate": "exchange.simulate.run",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command's --help must not wait for the compiler."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'exchange' has no attribute {name!r}")
    # a submodule of the same name (exchange.simulate) is the package; the callable lives inside it
    return getattr(importlib.import_module(_HOMES[name]), name)
