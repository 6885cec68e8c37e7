"""What the benchmarks send: a realistic bid request of about 2.5 kB, and the three markets that it meets.

The request: one banner imp with a private deal, site, device with geo, a user with 11 segments, regs, schain, badv,
bcat. `requests(n)` are n of them that differ in ids, user, page, placement and floor, so that nothing is measured
that only works for a request seen a moment ago. The markets: nobody; ten local campaigns that all match and all
bid; five remote endpoints.
"""

import json
from typing import Any, Final

VARIANTS: Final = 256
ID_CHARS: Final = 36
SEGMENTS: Final = (
    "urban", "suv", "sports", "travel", "families", "tech", "news", "food", "homeowner", "garden", "music",
)  # fmt: skip
LOCAL: Final = 10
REMOTE: Final = 5
RULES: Final = ("truthful", "linear", "paced", "shaded")
_UA: Final = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.6478.122 Mobile Safari/537.36"
)
_CONSENT: Final = (
    "CPxyzAAPxyzAAAfYgBENDXCsAP_AAH_AAAqIJNNd_X__bX9j-_5_f_t0eY1P9_7_v-0zjhfdt-8N2f_X_L8X42M7vF36pq4KuR4Eu3LBIQVlHOHcTUmw"
    "6okVrzPsbk2cr7NKJ7PEmnMbO2dYGH9"
)


def request(variant: int = 0) -> bytes:
    """One bid request as JSON; `variant` tells requests apart without changing who may bid."""
    name = f"7b2c9a40-1d3e-4f5a-8b6c-{variant:012d}"
    tree: dict[str, Any] = {
        "id": name,
        "imp": [_imp(variant)],
        "site": {
            "id": "site-2042",
            "name": "The Daily Example",
            "domain": f"news{variant % 16}.example",
            "cat": ["IAB12", "IAB12-3"],
            "sectioncat": ["IAB12-3"],
            "page": f"https://news{variant % 16}.example/world/2026/11/an-article-with-a-long-name-{variant}.html",
            "ref": "https://search.example/?q=news",
            "mobile": 1,
            "privacypolicy": 1,
            "publisher": {"id": "pub-77", "name": "Example Media", "domain": "example-media.example"},
            "content": {"id": "a-1", "title": "An article with a long name", "language": "fr", "livestream": 0},
        },
        "device": _device(),
        "user": {
            "id": f"u-{variant:08d}-5f3c",
            "buyeruid": "b-5f3c9e1a",
            "yob": 1987,
            "consent": _CONSENT,
            "data": [
                {
                    "id": "dmp-1",
                    "name": "Example DMP",
                    "segment": [{"id": segment, "name": segment.title()} for segment in SEGMENTS],
                }
            ],
        },
        "regs": {"coppa": 0, "gdpr": 1, "us_privacy": "1---", "ext": {"gdpr": 1}},
        "source": {
            "fd": 0,
            "tid": name,
            "ext": {
                "schain": {
                    "ver": "1.0",
                    "complete": 1,
                    "nodes": [
                        {"asi": "ssp.example", "sid": "pub-77", "hp": 1, "rid": name},
                        {"asi": "reseller.example", "sid": "r-9", "hp": 1},
                    ],
                }
            },
        },
        "at": 2,
        "tmax": 1_000,
        "cur": ["EUR"],
        "badv": ["casino.example", "poker.example", "tobacco.example", "bets.example"],
        "bcat": ["IAB25", "IAB26", "IAB7-39", "IAB8-5"],
        "allimps": 0,
    }
    return json.dumps(tree, separators=(",", ":")).encode()


def _imp(variant: int) -> dict[str, Any]:
    """The banner slot with its deal."""
    return {
        "id": "1",
        "banner": {
            "w": 300,
            "h": 250,
            "pos": 1,
            "topframe": 1,
            "api": [3, 5, 6],
            "mimes": ["text/html", "image/png", "image/jpeg"],
        },
        "pmp": {
            "private_auction": 0,
            "deals": [{"id": "deal-11", "bidfloor": 2.5, "bidfloorcur": "EUR", "at": 1, "wseat": ["seat-5"]}],
        },
        "displaymanager": "prebid",
        "displaymanagerver": "9.4.0",
        "tagid": f"slot-{variant % 32}",
        "bidfloor": 0.4 + variant % 8 / 100,
        "bidfloorcur": "EUR",
        "secure": 1,
        "exp": 300,
    }


def _device() -> dict[str, Any]:
    """A phone in France."""
    return {
        "ua": _UA,
        "ip": "192.0.2.0",
        "geo": {
            "lat": 48.85,
            "lon": 2.35,
            "country": "FRA",
            "region": "IDF",
            "city": "Paris",
            "type": 2,
            "utcoffset": 60,
        },
        "devicetype": 4,
        "make": "Google",
        "model": "Pixel 8",
        "os": "Android",
        "osv": "14",
        "w": 1080,
        "h": 2400,
        "pxratio": 2.625,
        "js": 1,
        "language": "fr",
        "carrier": "Example Mobile",
        "connectiontype": 6,
        "ifa": "8f14e45f-ceea-467f-a8c1-0b2f3d4e5a60",
        "lmt": 0,
    }


def requests(n: int = VARIANTS) -> list[bytes]:
    """`n` requests that differ."""
    return [request(variant) for variant in range(n)]


def market(name: str, ledger: str, bidder_port: int = 0) -> str:
    """The TOML of a market: "nobody", "local" (10 campaigns, 4 rules) or "remote" (5 endpoints).

    ledger: the folder it writes; bidder_port: where the remote bidders listen.
    """
    head = [
        f'[exchange]\nledger = "{ledger}"\nseed = 7',
        '[server]\naddress = "127.0.0.1:0"\ntimeout_ms = 1000',
        '[fees]\nsell = "isba2020"\nbuy = "isba2020"',
    ]
    if name == "local":
        head += [_advertiser(ix) for ix in range(LOCAL)]
    elif name == "remote":
        head += [
            f'[[endpoint]]\nname = "bidder{ix}"\nurl = "http://127.0.0.1:{bidder_port}/{ix}"' for ix in range(REMOTE)
        ]
    return "\n".join(head) + "\n"


def _advertiser(ix: int) -> str:
    """One advertiser with one campaign that the request's person, place and slot all fit."""
    domain = f"brand{ix}.example"
    return "\n".join(
        [
            f'[[advertiser]]\nname = "brand{ix}"\ndomains = ["{domain}"]',
            f'[[advertiser.campaign]]\nname = "spring"\nrule = "{RULES[ix % len(RULES)]}"',
            f'target = "seg one of [{SEGMENTS[ix]}, nobody{ix}] and country in [FR, BE] and device in [phone, tablet]"',
            f"value_cpm = {3.0 + ix / 10}\nbudget = 10000000",
            f'[[advertiser.campaign.creative]]\nid = "mpu"\nw = 300\nh = 250\ncat = ["IAB{ix + 1}"]',
            f'image = "https://{domain}/mpu.png"\nlanding = "https://{domain}/"',
        ]
    )
