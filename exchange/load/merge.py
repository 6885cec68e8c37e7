"""The demo's config: a TOML file with the command's options worked in, written out again as TOML.

It is written into the ledger folder, so that whoever reads the ledger later has the config it came from. Paths in it
are made absolute but for the ledger itself, which is the folder the file lies in.
"""

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from exchange.config import Config, ConfigError, find_config, load_config, parse_config

FILE: Final = "config.toml"
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
Table = dict[str, Any]


def read_table(path: Path) -> Table:
    """A config file as plain values, checked whole, its relative paths made absolute. Raises ConfigError."""
    path = find_config(path)
    load_config(path)
    table = tomllib.loads(path.read_text("utf-8"))
    folder = path.resolve().parent
    exchange = table.setdefault("exchange", {})
    if exchange.get("people"):
        exchange["people"] = str(folder / exchange["people"])
    for advertiser in table.get("advertiser", []):
        if advertiser.get("own_list"):
            advertiser["own_list"] = str(folder / advertiser["own_list"])
        for campaign in advertiser.get("campaign", []):
            for key in ("rule", "model"):
                place, colon, name = campaign.get(key, "").rpartition(":")
                if colon and place.endswith(".py"):
                    campaign[key] = f"{folder / place}:{name}"
    return table


def merge(table: Table, *, seed: int | None, qps: float | None, own_list: Path | None) -> Table:
    """Work the command's options in: the ledger is the config's own folder, the port any free one."""
    exchange = table.setdefault("exchange", {})
    exchange["ledger"] = "."
    if seed is not None:
        exchange["seed"] = seed
    table.setdefault("server", {})["address"] = "127.0.0.1:0"
    table["server"].pop("public_url", None)
    if qps is not None:
        table.setdefault("population", {})["qps"] = qps
    if own_list is not None:
        if not table.get("advertiser"):
            raise ConfigError(f"--own-list {own_list}: the config has no advertiser to own it")
        first = table["advertiser"][0]
        first["own_list"] = str(own_list.resolve())
        first["own_share"] = 0.0
    return table


def add_endpoints(table: Table, endpoints: Sequence[tuple[str, str]]) -> None:
    """Let bidders join as (name, url); a name that is taken gets a number."""
    present = table.setdefault("endpoint", [])
    taken = {endpoint["name"].lower() for endpoint in present}
    for name, url in endpoints:
        free, n = name, 1
        while free.lower() in taken:
            n += 1
            free = f"{name}-{n}"
        taken.add(free.lower())
        present.append({"name": free, "url": url})


def check(table: Table, endpoints: Sequence[tuple[str, str]]) -> None:
    """Raise ConfigError when the config could not be used with these endpoints added; changes nothing."""
    tried = {**table, "endpoint": list(table.get("endpoint", []))}
    add_endpoints(tried, endpoints)
    config = parse_config(to_toml(tried), "options")
    if config.population.log:
        raise ConfigError(f"population.log = {config.population.log!r}: a log is replayed by `simulate` only")


def write(table: Table, folder: Path) -> Config:
    """Write the config into `folder` and read it back, checked. Raises ConfigError."""
    text = to_toml(table)
    config = parse_config(text, FILE, str(folder.resolve()))
    (folder / FILE).write_text(text, "utf-8")
    return config


# ---- TOML ----------------------------------------------------------------------------------------------------


def to_toml(table: Table, path: tuple[str, ...] = ()) -> str:
    """Plain values as TOML 1.0: what `tomllib.loads` reads back equal. None is left out."""
    given = {name: value for name, value in table.items() if value is not None}
    text = "".join(f"{_key(name)} = {_value(value)}\n" for name, value in given.items() if not _is_table(value))
    for name, value in given.items():
        below = (*path, name)
        dotted = ".".join(map(_key, below))
        if isinstance(value, dict) and _is_table(value):
            text += f"\n[{dotted}]\n{to_toml(value, below)}"
        elif _is_table(value):
            text += "".join(f"\n[[{dotted}]]\n{to_toml(item, below)}" for item in value)
    return text


def _is_table(value: Any) -> bool:
    """True for what gets a header of its own."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) for item in value)
    return isinstance(value, dict)


def _key(name: str) -> str:
    """A key, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    """A value within a line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())} }}"
    return repr(value)
