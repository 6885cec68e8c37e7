"""Docs run: every command and code block of README.md and docs/ is executed or parsed; links lead somewhere."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exchange.__main__ import parser
from exchange.config import load_config, parse_config
from exchange.population import Population
from exchange.rent.names import salt

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORT = {
    "demo": ["--seconds", "1", "--qps", "60"],
    "serve": ["--port", "0"],
    "tournament": ["--seeds", "2", "--auctions", "300"],
}
AUCTIONS_MAX = 2_000
SHOWN = {"text", "csv"}  # nothing to run
SCHEMED = re.compile(r"https://[\w.-]+(/\S*)?$")


class Block(NamedTuple):
    """One code block: where, in which language, what."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """`config.md:12`."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced code blocks of a page."""
    found, language, start, lines = [], "", 0, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            if start:
                found.append(Block(page, start, language, "\n".join(lines)))
                start = 0
            else:
                language, start, lines = line.strip().removeprefix("```"), number, []
        else:
            lines.append(line)
    assert not start, f"{page.name}:{start}: a code block that does not end"
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(*languages: str) -> Any:
    """Parametrize over the blocks in these languages."""
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=[block.name for block in found])


def test_every_block_has_a_language_that_is_tested() -> None:
    """A block in another language is run by a test of its own page, which names page and language."""
    known = SHOWN | {"sh", "python", "toml", "json"}
    tests = [path.read_text() for path in (ROOT / "tests").glob("test_*.py") if path.name != "test_docs.py"]
    for block in BLOCKS:
        own = [text for text in tests if block.page.name in text and block.language and block.language in text]
        assert block.language in known or own, (
            f"{block.name}: no test runs {block.language or 'a block without language'}"
        )
    assert any(block.page.name == "README.md" and block.language == "sh" for block in BLOCKS)


@of("json")
def test_json_parses(block: Block) -> None:
    """JSON, or one JSON value per line."""
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


@of("toml")
def test_toml_is_a_config(block: Block) -> None:
    """Every TOML block is a part of a config that the exchange takes."""
    parse_config(block.text, block.name)


# ---- commands --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as a reader has it after `make demo`: configs, a demo ledger, a request, a folder of requests."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("configs", "bidders"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    config = load_config(folder / "configs" / "demo.toml")
    population = Population(config, salt(folder / "ledger-of-nobody"))
    body = population.request(population.at(1))
    (folder / "request.json").write_bytes(body)
    (folder / "requests").mkdir()
    (folder / "requests" / "one.json").write_bytes(body)
    run(["demo"], folder)
    yield folder
    shutil.rmtree(folder)


def environment() -> dict[str, str]:
    """The environment of a command: nothing buffered, so that the ready line comes at once."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def run(args: list[str], folder: Path) -> None:
    """Run `rentier ARGS` in a folder with short options; `serve` until it is ready."""
    args = [*args, *SHORT.get(args[0], [])]
    if "--auctions" in args:
        at = args.index("--auctions") + 1
        args[at] = str(min(int(args[at]), AUCTIONS_MAX))
    command = [sys.executable, "-m", "exchange", *args]
    if args[0] != "serve":
        done = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"rentier {shlex.join(args)}: exit {done.returncode}\n{done.stderr}{done.stdout}"
        return
    process = subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    guard = threading.Timer(60, process.kill)
    guard.start()
    assert process.stdout is not None
    first = process.stdout.readline()
    process.terminate()
    _, told = process.communicate(timeout=60)
    guard.cancel()
    assert first.startswith("rentier ready on http://127.0.0.1:") and process.returncode == 0, first + told


def commands(block: Block) -> list[list[str]]:
    """The commands of a block, as words."""
    joined = block.text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def write_files(page: Path, folder: Path) -> None:
    """Write the blocks that begin with `# name.py` or `# name.toml`, and CSVs behind "`name.csv`:", to such files."""
    for name, text in re.findall(r"`([\w-]+\.csv)`:\n\n```csv\n(.*?)```", page.read_text(), flags=re.S):
        (folder / name).write_text(text)
    for block in blocks(page):
        named = re.match(r"# ([\w-]+\.(?:py|toml))$", block.text.partition("\n")[0])
        if named:
            (folder / named[1]).write_text(block.text + "\n")


def make_targets() -> set[str]:
    """The targets that the Makefile declares."""
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.M)
    assert phony
    targets = set(phony[1].split())
    assert all(re.search(rf"^{target}:", text, re.M) for target in targets)
    return targets


@of("sh")
def test_commands_work(block: Block, work: Path) -> None:
    """`rentier` runs, `make` names a target, `python -m` a module; installing is only read."""
    write_files(block.page, work)
    found = commands(block)
    assert found, f"{block.name}: no command in it"
    for words in found:
        while "=" in words[0]:
            words = words[1:]
        program = Path(words[0]).name
        if program == "rentier":
            parser().parse_args(words[1:])
            run(words[1:], work)
        elif program == "make":
            assert {w for w in words[1:] if "=" not in w} <= make_targets(), f"{block.name}: {shlex.join(words)}"
        elif program.startswith("python"):
            assert words[1] == "-m", f"{block.name}: {shlex.join(words)}"
            if words[2] == "pytest" and len(words) > 3:  # of a file that an earlier command wrote
                command = [sys.executable, *words[1:], "-p", "no:cacheprovider"]
                done = subprocess.run(command, cwd=work, env=environment(), capture_output=True, text=True, timeout=240)
                assert done.returncode == 0, f"{block.name}: {shlex.join(words)}\n{done.stdout}{done.stderr}"
                continue
            assert any((ROOT / place).exists() for place in places(words[2])), f"{block.name}: no module {words[2]}"
        else:
            assert program in ("pip", "git", "cd", "curl"), f"{block.name}: {program} is not checked by any test"


def places(module: str) -> list[str]:
    """Where a module of this repository, or a tool in use, may lie."""
    path = module.replace(".", "/")
    return [f"{path}.py", f"{path}/__init__.py", ".venv"] if module in ("pip", "pytest", "venv") else [
        f"{path}.py", f"{path}/__init__.py"
    ]  # fmt: skip


PYTHON_PAGES = sorted({block.page for block in BLOCKS if block.language == "python"})


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.name)
def test_python_runs(page: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page, one after the other in one namespace."""
    monkeypatch.chdir(work)
    write_files(page, work)
    space: dict[str, Any] = {"__name__": "docs"}
    for block in blocks(page):
        if block.language == "python":
            exec(compile("\n" * block.line + block.text, str(page), "exec"), space)


# ---- links and names -------------------------------------------------------------------------------------------


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name files (and headings) that exist; others are https."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            assert SCHEMED.match(target), f"{page.name}: {target}"
            continue
        linked = page if not path else page.parent / path
        assert linked.exists(), f"{page.name}: no {target}"
        assert not anchor or anchor in headings(linked), f"{page.name}: no heading {target}"


ROOMS = "exchange|bidders|configs|tests|docs|bench"
NAMED = re.compile(rf"(?<![\w./-])((?:{ROOMS})/[\w./*-]+|(?:openrtb|audience|auction|rent|simulate|load)/\w+\.py)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """No line names a file or folder of the repository that is not there."""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        for name in NAMED.findall(line):
            name = name.rstrip(".")
            assert any(list(base.glob(name)) for base in (ROOT, ROOT / "exchange")), f"{page.name}:{number}: no {name}"


def test_the_map_shows_every_room() -> None:
    """docs/map.md has each module and package of exchange/, and nothing that is gone (checked above)."""
    text = (ROOT / "docs" / "map.md").read_text()
    for path in sorted((ROOT / "exchange").iterdir()):
        if path.is_dir() and (path / "__init__.py").exists():
            assert f"| `exchange/{path.name}/` |" in text, path.name
        elif path.suffix == ".py" and path.name != "__init__.py":
            assert f"| `exchange/{path.name}` |" in text, path.name


def test_the_readme_is_short() -> None:
    """One page: what, why, two commands, one screen, where next."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110
