"""The config: docs/config.md names every key with its type, limits and default; what cannot be used is one line."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from exchange.config import (
    Advertiser,
    Auction,
    Campaign,
    Cap,
    Config,
    ConfigError,
    Creative,
    Distribution,
    Endpoint,
    Exchange,
    Fees,
    FeeSet,
    Population,
    Reserve,
    Server,
    Theory,
    load_config,
    parse_config,
    shipped,
)

DOC = Path(__file__).resolve().parents[1] / "docs" / "config.md"
SECTIONS: dict[str, type] = {
    "`[exchange]`": Exchange,
    "`[server]`": Server,
    "`[auction]`": Auction,
    "`[[auction.reserve]]`": Reserve,
    "`[fees]`": Fees,
    "`[fees.set.NAME]`": FeeSet,
    "`[[advertiser]]`": Advertiser,
    "`[[advertiser.campaign]]`": Campaign,
    "`cap`": Cap,
    "`value_cpm` drawn anew": Distribution,
    "`[[advertiser.campaign.creative]]`": Creative,
    "`[[endpoint]]`": Endpoint,
    "`[population]`": Population,
    "`[theory]`": Theory,
}
GOOD = """
[[advertiser]]
name = "brand"
[[advertiser.campaign]]
name = "box"
value_cpm = 2.0
[[advertiser.campaign.creative]]
id = "box"
w = 300
h = 250
image = "https://brand.example/box.png"
"""
# `/` may stand in a name: two campaigns would be one to the ledger
SLASHED = "".join(
    GOOD.replace('name = "brand"', f'name = "{brand}"').replace('name = "box"', f'name = "{campaign}"')
    for brand, campaign in (("a/b", "c"), ("A", "b/c"))
)


def number(value: float) -> str:
    """A limit or default as the page writes it: 65,536 and 0.3."""
    return f"{value:,}" if isinstance(value, int) or not float(value).is_integer() else f"{int(value):,}"


def kind(info: Any) -> str:
    """What may stand there, in the page's words."""
    if isinstance(info, inspect.UnionType):
        return " or ".join(kind(t) for t in info.types if not isinstance(t, inspect.NoneType))
    if isinstance(info, inspect.IntType | inspect.FloatType):
        what = "integer" if isinstance(info, inspect.IntType) else "number"
        low = number(info.ge) if info.ge is not None else f"above {number(info.gt)}" if info.gt is not None else ""
        high = number(info.le) if info.le is not None else f"below {number(info.lt)}" if info.lt is not None else ""
        return f"{what} {low} to {high}" if high else f"{what} {low}{' or more' if info.ge is not None else ''}"
    if isinstance(info, inspect.StrType):
        return "text"
    if isinstance(info, inspect.BoolType):
        return "true or false"
    if isinstance(info, inspect.ListType):
        return f"list of {kind(info.item_type)}s" if not isinstance(info.item_type, inspect.StructType) else "tables"
    if isinstance(info, inspect.TupleType):
        return f"list of {len(info.item_types)} numbers"
    return "table"


def default(field: Any) -> str:
    """The default in the page's words."""
    value = field.default if field.default is not msgspec.NODEFAULT else None
    if field.required:
        return "required"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return number(value)
    return f"`{value}`" if value else "-"


def tables() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Heading -> key -> (kind, default, meaning) as docs/config.md has them."""
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    for section in re.split(r"^## ", DOC.read_text(), flags=re.M)[1:]:
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in section.splitlines()
            if line.startswith("| `")
        ]
        found[section.splitlines()[0]] = {row[0].strip("`"): (row[1], row[2], row[3]) for row in rows}
    return found


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_has_every_key_with_type_limits_and_default(heading: str) -> None:
    """Key by key, in the order of the Struct; the meaning is there."""
    documented = tables()[heading]
    fields = inspect.type_info(SECTIONS[heading]).fields  # type: ignore[attr-defined]
    assert list(documented) == [field.name for field in fields]
    for field in fields:
        assert documented[field.name][:2] == (kind(field.type), default(field)), field.name
        assert len(documented[field.name][2]) > 10, f"{field.name}: say what it means"


def test_the_page_has_every_section() -> None:
    """Each table of a config stands on the page; `folder` is no key."""
    text = DOC.read_text()
    for name in Config.__struct_fields__:
        if name != "folder":
            assert f"[{name}]" in text, name
    assert set(SECTIONS) <= set(tables())


def test_defaults_are_a_config() -> None:
    """An empty file is an exchange without campaigns; the least campaign needs a name, a value and a creative."""
    assert parse_config("").exchange.currency == "EUR"
    assert parse_config(GOOD).advertiser[0].campaign[0].rule == "truthful"


def test_shipped_configs_load() -> None:
    """Every TOML in configs/ is usable."""
    folder = shipped("demo.toml").parent
    paths = sorted(folder.rglob("*.toml"))
    assert paths and all(load_config(path) for path in paths)


REFUSED = [
    ("[exchange]\ncurency = 'EUR'", "unknown field `curency`.*did you mean `currency`"),
    ("[exchange]\ncurrency = 'euro'", "exchange.currency"),
    ("[exchange]\njournal = 'ful'", "exchange.journal = 'ful': expected one of wins, bids, full; did you mean 'full'"),
    ("[exchange]\nseed = -1", "exchange.seed"),
    ("[exchange]\nseed = 9223372036854775808", "seed"),
    ("[server]\naddress = '127.0.0.1'", "server.address = '127.0.0.1': expected host:port"),
    ("[server]\naddress = '127.0.0.1:70000'", "port 0 to 65535"),
    ("[server]\nawards_max = 5000", "server.awards_max = 5000: expected a power of two"),
    ("[server]\ntimeout_ms = 0", "server.timeout_ms"),
    ("[auction]\nformat = 'second'", "auction.format = 'second': .*second_price"),
    ("[auction]\nrunner_up = 'x'", "auction.runner_up"),
    ("[auction]\nslots = [1.0, 0.0000004]", "auction.slots"),  # less than the millionth that rates are kept in
    (GOOD.replace("value_cpm = 2.0", "value_cpm = 2.0\nquality = 0.0000004"), "quality"),
    ("[rates]\nusd = 0.9", "rates"),
    ("[rates]\nUSD = 0", "rates"),
    ("[fees.set.a]\n[fees.set.house]\ndsp = -1", r"fees.set.house.dsp`; got -1"),
    ("[fees.set.house]\nbla = 1", r"unknown field `bla` - at `\$.fees.set.house`"),
    ("[population]\npreset = 'wep'", "did you mean 'web'"),
    ("[[endpoint]]\nname = 'a'\nurl = 'https://a/'", "endpoint\\[0\\].url = 'https://a/': expected http://host:port"),
    ("[[endpoint]]\nname = 'a'\nurl = 'http://a/'\n" * 2, "endpoint.name = 'a' stands twice"),
    (GOOD + GOOD.replace("brand", "Brand"), "advertiser.name = 'Brand' stands twice"),
    (SLASHED, "advertiser/campaign = 'A/b/c' stands twice"),
    (GOOD.replace("value_cpm = 2.0", ""), "brand/box: expected exactly one of value_cpm, value_click"),
    (GOOD.replace("value_cpm = 2.0", "value_cpm = 2.0\nvalue_click = 1.0"), "expected exactly one of"),
    (GOOD.replace("2.0", "{ uniform = [0, 1], exponential = 1 }"), "expected exactly one of uniform"),
    (GOOD.replace("2.0", "-2.0"), "value_cpm"),
    (GOOD.replace("value_cpm = 2.0", "value_cpm = 2.0\npurpose = 'winbak'"), "purpose.*did you mean 'winback'"),
    (GOOD.replace("value_cpm = 2.0", "value_cpm = 2.0\ncap = { total = 0 }"), "cap.total"),
    (GOOD.partition("[[advertiser.campaign.creative]]")[0], "expected at least one"),
    (GOOD.replace("w = 300", ""), "creative box: a banner needs w and h"),
    (GOOD.replace("w = 300", "w = 300\ntype = 'banana'"), "type = 'banana'"),
    ("x = [", "not TOML"),
    (b"\xff\xfe", "not TOML"),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_used_is_one_line(text: str | bytes, expected: str) -> None:
    """The message names the file, the key, the value and what was expected."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml: ") and "\n" not in message
    assert re.search(expected, message), message


def test_shipped_configs_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`configs/...` is the file of this folder, else the one that comes with the exchange."""
    monkeypatch.chdir(tmp_path)
    assert load_config("configs/models/clicks.toml").folder == str(shipped("models/clicks.toml").parent)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.toml").write_text("[exchange]\nseed = 77")
    assert load_config("configs/demo.toml").exchange.seed == 77
    with pytest.raises(ConfigError, match="no.toml: no such config among those shipped"):
        load_config("configs/no.toml")


def test_a_file_that_is_not_there() -> None:
    """The path and the reason."""
    with pytest.raises(ConfigError, match="nowhere.toml: cannot be read: No such file"):
        load_config("nowhere.toml")


def test_a_segment_of_an_endpoint_may_hold_the_word_own(tmp_path: Path) -> None:
    """Only the leaf `own` is not for endpoints, and the language refuses it where the market is opened."""
    path = tmp_path / "c.toml"
    path.write_text("[[endpoint]]\nname = 'e'\nurl = 'http://a.example/'\ntarget = 'seg one of [own-car]'\n")
    assert load_config(path).endpoint[0].target == "seg one of [own-car]"
