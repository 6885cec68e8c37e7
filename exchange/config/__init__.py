"""The config: a TOML file becomes Structs (`keys`), checked (`check`).

`load_config(path)` raises `ConfigError` with one line that names the key, the value and what was expected.
"""

import difflib
import hashlib
import re
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from exchange.config.check import check
from exchange.config.keys import (
    SEED_MAX,
    STRUCTS,
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
    KeepDays,
    People,
    Population,
    Reserve,
    Segment,
    Server,
    Storage,
    Theory,
)

T = TypeVar("T")

__all__ = [
    "SEED_MAX",
    "Advertiser",
    "Auction",
    "Campaign",
    "Cap",
    "Config",
    "ConfigError",
    "Creative",
    "Distribution",
    "Endpoint",
    "Exchange",
    "KeepDays",
    "FeeSet",
    "Fees",
    "People",
    "Population",
    "Reserve",
    "Segment",
    "Server",
    "Storage",
    "Theory",
    "config_hash",
    "convert",
    "find_config",
    "load_config",
    "parse_config",
    "shipped",
]


def shipped(name: str) -> Path:
    """Path of a config that comes with the exchange: in an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    places = [package / "configs" / name, package.parent / "configs" / name]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise ConfigError(f"{name}: no such config among those shipped in {places[0].parent} or {places[1].parent}")
    return found


def find_config(path: str | Path) -> Path:
    """The file that a path names; where there is none, `configs/...` is the one of that name among those shipped."""
    path = Path(path)
    if path.parts[:1] == ("configs",) and not path.exists():
        return shipped(str(Path(*path.parts[1:])))
    return path


def load_config(path: str | Path) -> Config:
    """Read and check a TOML config. Raises ConfigError (one line) for anything unusable."""
    path = find_config(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_config(text, str(path), str(path.resolve().parent))


def convert(plain: Any, struct: type[T], name: str) -> T:
    """A part of a config from plain values, with the types that a file must have; `name` stands in messages."""
    try:
        return msgspec.convert(plain, struct)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_explain(str(error), plain, struct)}") from None


def parse_config(text: bytes | str, name: str = "config", folder: str = ".") -> Config:
    """Check a TOML text; `name` stands in messages, `folder` is where its relative paths start."""
    try:
        config = msgspec.toml.decode(text, type=Config)
    except msgspec.ValidationError as error:
        document = tomllib.loads(text.decode() if isinstance(text, bytes) else text)
        raise ConfigError(f"{name}: {_explain(str(error), document, Config)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{name}: not TOML: {error}") from None
    if config.folder:
        raise ConfigError(f"{name}: Object contains unknown field `folder`")
    config.folder = folder
    check(config, name)
    return config


def config_hash(config: Config) -> str:
    """Hash of what decides money in a config: everything but where it lies, where it listens and where it writes."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    plain.pop("folder")
    plain.pop("theory")
    plain["exchange"].pop("ledger")
    for key in ("address", "public_url"):
        plain["server"].pop(key)
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]


def _explain(message: str, document: dict[str, Any], struct: Any) -> str:
    """Turn a decoder message into one that shows the value and suggests the nearest key."""
    message = _named(message, document, struct)
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if unknown:
        keys = {key for struct in STRUCTS for key in struct.__struct_fields__}
        near = difflib.get_close_matches(unknown[1], keys, 1)
        return message + (f"; did you mean `{near[0]}`?" if near else "")
    at = re.search(r" - at `\$\.?([^`]*)`$", message)
    value: Any = document
    for step in re.findall(r"\[(\d+)\]|([^.\[\]]+)", at[1] if at else ""):
        try:
            value = value[int(step[0])] if step[0] else value[step[1]]
        except (KeyError, IndexError, TypeError):
            return message
    return f"{message}; got {repr(value)[:60]}" if at and "..." not in at[1] else message


def _named(message: str, document: dict[str, Any], struct: Any) -> str:
    """The message with the name of a table's entry, which the decoder leaves out: `$.fees.set[...]`."""
    path = re.search(r" - at `\$\.([^`\[]*)\[\.\.\.\]", message)
    if not path:
        return message
    one = deepcopy(document)
    above, table = one, one
    for step in path[1].split("."):
        if not isinstance(table, dict) or step not in table:
            return message
        above, table = table, table[step]
    for name in table:
        above[step] = {name: table[name]}  # the one entry that is refused alone
        try:
            msgspec.convert(one, struct)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return message.replace("[...]", f".{name}", 1)
    return message
