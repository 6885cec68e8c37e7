"""Explain one bid request: `explain(config, body, now_ns)` gives the facts, `explain_file` what the command prints."""

from exchange.explain.facts import Explained
from exchange.explain.screen import render
from exchange.explain.steps import explain, explain_file

__all__ = ["Explained", "explain", "explain_file", "render"]
