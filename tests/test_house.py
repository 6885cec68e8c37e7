"""The house rules, as tests: sizes, who may import whom, what is documented. docs/map.md says why."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*(ROOT / "exchange").rglob("*.py"), *(ROOT / "bidders").rglob("*.py")])
LINES_MAX = 400
FUNCTION_LINES_MAX = 70

# A room may import rooms of a lower rank, and itself. Leaves know nobody but the shapes they are made of.
RANKS = [
    {"market", "compiled", "config", "http", "metrics", "links"},
    {"randomness", "openrtb", "memory"},
    {"state", "audience", "bidding"},
    {"rent"},
    {"books"},
    {"awards", "contract", "facts", "report"},
    {"auction"},
    {"population", "opportunity", "client", "reserve"},
    {"quotes", "fanout", "notices", "server", "opening", "forgetting", "events", "keeping"},
    {"line"},
    {"simulate", "live", "explain", "new", "reach"},
    {"serve", "load", "theory"},
    {"tournament", "people"},
    {"cli"},
    {"__main__"},
]
NUMBA_ROOMS = {
    "memory",
    "state",
    "awards",
    "audience",
    "auction",
    "rent",
    "books",
    "bidding",
    "randomness",
    "population",
    "simulate",
}
SOCKET_ROOMS = {"client", "fanout", "server", "notices", "live", "serve", "load"}
PROCESS_ROOMS = {"load"}
PRINTING = {"__main__", "cli", "load"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


MODULES = {name_of(path): path for path in SOURCES}


@cache
def imports_of(path: Path, deferred: bool = True) -> frozenset[str]:
    """Modules a file imports, deferred ones included; `from exchange import x` counts as exchange.x."""
    tree = tree_of(path)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree) if deferred else tree.body:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return frozenset(found)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= LINES_MAX, f"{lines} lines: split it"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name}: {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_things_are_documented(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree) or not tree.body, "the module has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            text = ast.get_docstring(node)
            assert text, f"{node.name} has no docstring"
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    hooks = {"on_", "connection_", "data_", "eof_", "pause_", "resume_"}
                    if not any(inner.name.startswith(hook) for hook in hooks):
                        assert ast.get_docstring(inner), f"{node.name}.{inner.name} has no docstring"


def test_every_room_has_a_rank() -> None:
    ranked = set().union(*RANKS)
    rooms = {room_of(name) for name in MODULES if name.startswith("exchange.")}
    assert rooms <= ranked, f"no rank: {rooms - ranked}"
    assert ranked <= rooms, f"gone: {ranked - rooms}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("exchange.")])
def test_imports_go_one_way(module: str) -> None:
    rank = {room: ix for ix, rooms in enumerate(RANKS) for room in rooms}
    here = room_of(module)
    for name in imports_of(MODULES[module]):
        if name == "exchange":
            assert module == "exchange.__main__", "nothing inside imports the package's root"
        if name.startswith("exchange.") and room_of(name) != here:
            assert rank[room_of(name)] < rank[here], f"{module} imports {name}"
        assert not name.startswith("bidders"), f"{module} names the rule library"


def test_no_import_cycles() -> None:
    graph = {name: {i for i in imports_of(path, False) if i in MODULES} for name, path in MODULES.items()}
    while graph:
        free = {name for name, needs in graph.items() if not needs & graph.keys() - {name}}
        assert free, f"a cycle among {sorted(graph)}"
        for name in free:
            del graph[name]


def test_libraries_stay_in_their_rooms() -> None:
    for module, path in MODULES.items():
        if module.startswith("bidders"):
            assert not any(i.startswith("exchange") for i in imports_of(path)), f"{module} imports the exchange"
            continue
        tops = {i.partition(".")[0] for i in imports_of(path)}
        room = room_of(module)
        assert not tops & {"numba", "llvmlite"} or room in NUMBA_ROOMS, f"{module} compiles"
        assert not tops & {"asyncio", "socket", "uvloop"} or room in SOCKET_ROOMS, f"{module} does I/O on sockets"
        assert not tops & {"subprocess", "multiprocessing"} or room in PROCESS_ROOMS, f"{module} starts processes"
        if room not in PRINTING:
            calls = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call)]
            assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls), f"{module} prints"


def test_the_inside_reads_no_clock() -> None:
    for module, path in MODULES.items():
        if room_of(module) in {
            "auction",
            "state",
            "awards",
            "audience",
            "bidding",
            "population",
            "line",
            "opportunity",
            "facts",
        }:
            assert "time" not in {i.partition(".")[0] for i in imports_of(path)}, f"{module} could read a clock"


def test_no_fastmath() -> None:
    assert not [module for module, path in MODULES.items() if "fastmath" in path.read_text()]


def test_the_exchange_names_no_rule() -> None:
    rules = {path.stem for path in (ROOT / "bidders").glob("*.py")} - {"__init__"}
    for module, path in MODULES.items():
        if module.startswith("exchange.") and module not in ("exchange.config.keys", "exchange.__main__"):
            texts = {
                n.value for n in ast.walk(tree_of(path)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
            assert not rules & texts, f"{module} names {rules & texts}"


def test_every_config_key_is_documented() -> None:
    text = (ROOT / "docs" / "config.md").read_text()
    for node in tree_of(ROOT / "exchange" / "config" / "keys.py").body:
        if isinstance(node, ast.ClassDef) and node.name not in ("ConfigError", "Config"):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    assert f"`{field.target.id}`" in text, (
                        f"docs/config.md does not explain {node.name}.{field.target.id}"
                    )


def test_nothing_is_left_undone() -> None:
    for path in [*SOURCES, *(ROOT / "tests").glob("*.py"), *(ROOT / "bench").rglob("*.py")]:
        if path.name != "test_house.py":
            found = re.search(r"\b(TODO|FIXME)\b|except( Exception)?:\s*pass|assert True\b", path.read_text())
            assert not found, f"{path.name}: {found and found[0]}"


@pytest.mark.parametrize("first", ["numba", "exchange"])
def test_kernels_are_cached_by_their_sources_whoever_imports_first(first: str) -> None:
    """Beside the sources numba would keep stale kernels: it does not notice an edited callee in another module."""
    code = (
        f"import {first}; import exchange, numba; from exchange import compiled; "
        "assert numba.core.config.CACHE_DIR == str(compiled.cache_folder()) and compiled.source_key() in "
        "numba.core.config.CACHE_DIR"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)
