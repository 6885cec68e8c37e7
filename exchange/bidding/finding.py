"""How a rule is found: among the built-in ones, in an installed package, in a file."""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

Rule = type[Any]
LIBRARY: Final = "bidders"
GROUP: Final = "rentier.bidders"  # entry points under which an installed package offers rules: name -> module:Class


class RuleError(ValueError):
    """A rule that cannot be found or used; one line, with where it was looked for and the nearest name."""


def snake(name: str) -> str:
    """`FloorPlus` -> `floor_plus`: the name of a rule in a config."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def rules_in(module: ModuleType) -> dict[str, Rule]:
    """The rules a module defines, by config name."""
    return {
        snake(name): found
        for name, found in vars(module).items()
        if inspect.isclass(found) and found.__module__ == module.__name__ and hasattr(found, "price")
    }


def library() -> dict[str, Rule]:
    """Every built-in rule, by name, sorted."""
    package = importlib.import_module(LIBRARY)
    found: dict[str, Rule] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if not info.ispkg:
            found.update(rules_in(importlib.import_module(f"{LIBRARY}.{info.name}")))
    return dict(sorted(found.items()))


@lru_cache(maxsize=1)
def installed() -> dict[str, list[EntryPoint]]:
    """The rules that installed packages offer under `GROUP`, by name; nothing of them is imported yet.

    Read once per process. A name that two packages offer, or that is built in, is refused when it is used.
    """
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        offers = found.setdefault(entry.name, [])
        if entry not in offers:  # one distribution seen twice, on two entries of sys.path
            offers.append(entry)
    return dict(sorted(found.items()))


def _offered(name: str, built_in: bool) -> str:
    """`module:Class` of a name that an installed package offers, "" when none does. Raises RuleError."""
    offers = installed().get(name, [])
    by = " and ".join(sorted({f"{e.dist.name} {e.dist.version}" if e.dist else e.value for e in offers}))
    if offers and built_in:
        raise RuleError(f"rule {name!r}: built in, and offered by {by} too: one name must mean one rule; rename theirs")
    if len(offers) > 1:
        raise RuleError(f"rule {name!r}: offered more than once, by {by}: uninstall one, or name it as pkg.mod:Class")
    if offers and not re.fullmatch(r"[\w.]+:\w+", offers[0].value):
        raise RuleError(f"rule {name!r}: entry point {offers[0].value!r} of {by}: expected module:Class")
    return offers[0].value if offers else ""


def resolve(name: str, folder: str = ".") -> Rule:
    """Find a rule by `built_in`, `installed`, `pkg.mod:Class` or `./file.py:Class` (relative to `folder`).

    `installed` is a name that an installed package offers as an entry point of `GROUP`. Raises RuleError.
    """
    built_in = library()
    offer = _offered(name, name in built_in)
    if name in built_in:
        return built_in[name]
    place, colon, attribute = (offer or name).rpartition(":")
    if not colon or not place or not attribute:
        others = f", nor among the installed ones ({', '.join(installed())})" if installed() else ""
        near = difflib.get_close_matches(name, [*built_in, *installed()], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RuleError(
            f"rule {name!r}: not among the built-in rules ({', '.join(built_in)}){others}, "
            f"and neither pkg.mod:Class nor ./file.py:Class{hint}"
        )
    module = module_of(f"rule {name!r}", place, folder)
    found = getattr(module, attribute, None)
    if found is None or not hasattr(found, "price"):
        near = difflib.get_close_matches(attribute, [c.__name__ for c in rules_in(module).values()], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RuleError(f"rule {name!r}: {place} has no rule class {attribute!r}{hint}")
    if not isinstance(getattr(found, "defaults", None), dict):
        raise RuleError(f"rule {name!r}: {attribute}.defaults: expected a dict of its knobs, {{}} when it has none")
    return found  # type: ignore[no-any-return]


def module_of(what: str, place: str, folder: str) -> ModuleType:
    """The module `pkg.mod`, or that of the file `./file.py` relative to `folder`.

    `what` begins a message: "rule 'x'". Raises RuleError.
    """
    if place.endswith(".py"):
        return _from_file(what, Path(folder) / place)
    try:
        return importlib.import_module(place)
    except ImportError as error:
        raise RuleError(f"{what}: module {place!r} cannot be imported from sys.path: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything; it becomes one line
        raise RuleError(f"{what}: module {place!r} failed: {type(error).__name__}: {error}") from error


def _from_file(what: str, path: Path) -> ModuleType:
    """Load a file under a stable unique module name: numba caches by that name across processes."""
    path = path.resolve()
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RuleError(f"{what}: no file {path}{hint}")
    unique = f"rentier_rule_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise RuleError(f"{what}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything; it becomes one line
        del sys.modules[unique]
        raise RuleError(f"{what}: {path} failed to load: {type(error).__name__}: {error}") from error
    return module
