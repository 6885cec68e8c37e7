"""Options that only one report has, by report: apart from the reports, so that the command line loads none of them."""

from typing import Final

from exchange.report.shape import Argument

OPTIONS: Final[dict[str, tuple[Argument, ...]]] = {}
