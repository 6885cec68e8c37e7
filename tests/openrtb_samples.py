"""Small requests and the two ways to decode them, for the tests of the border."""

import json
from typing import Any

import pytest

from exchange.openrtb import BadRequest, BidRequest, decode

NATIVE = {"assets": [{"id": 1, "title": {"len": 30}}]}


def request(**over: Any) -> dict[str, Any]:
    """A small good request; a value of ... removes the field."""
    made: dict[str, Any] = {
        "id": "r1",
        "imp": [{"id": "1", "banner": {"w": 300, "h": 250}, "bidfloor": 0.5}],
        "site": {"id": "s", "domain": "news.example"},
        "user": {"id": "u", "data": [{"segment": [{"id": "urban"}]}]},
        "device": {"devicetype": 1, "w": 400},
        "tmax": 120,
    }
    made.update(over)
    return {key: value for key, value in made.items() if value is not ...}


def imp(**over: Any) -> dict[str, Any]:
    """A good request whose only imp is changed."""
    made = {"id": "1", "banner": {"w": 300, "h": 250}, **over}
    return request(imp=[{key: value for key, value in made.items() if value is not ...}])


def refusal(body: Any) -> BadRequest:
    """Decode what must be refused."""
    with pytest.raises(BadRequest) as caught:
        decode(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def paths(body: Any) -> list[str]:
    """The paths that a refusal names."""
    return [problem.path for problem in refusal(body).errors]


def good(body: Any) -> BidRequest:
    """Decode what must be accepted."""
    return decode(body if isinstance(body, bytes) else json.dumps(body).encode())


def accepted(body: bytes) -> bool:
    """Say whether a body is accepted."""
    try:
        decode(body)
    except BadRequest:
        return False
    return True
