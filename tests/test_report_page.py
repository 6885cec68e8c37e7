"""The pages of the reports in a real browser, on a phone and on a wide screen, and what makes them self-contained."""

import json
import os
import re
import shutil
import subprocess
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from exchange.report import command
from exchange.report.asking import Books
from tests import naive_reports as naive

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MINE = ("summary", "waterfall", "price_list", "user_month")
PROBE = """<script>addEventListener("load",()=>{const d=document,r=d.documentElement,box=e=>e.getBoundingClientRect();
const out=[...d.querySelectorAll("body *")].filter(e=>box(e).right>innerWidth+1&&box(e).width&&!e.closest("svg"));
const texts=[...d.querySelectorAll("svg text")].filter(e=>{const s=box(e.closest("svg")),t=box(e);
return t.right>s.right+1||t.left<s.left-1||t.bottom>s.bottom+1||t.top<s.top-1});
const small=[...d.querySelectorAll("svg text")].map(e=>box(e).height);
parent.document.documentElement.setAttribute("data-probe",JSON.stringify({wide:innerWidth,scroll:r.scrollWidth,out:out.map(e=>e.outerHTML.slice(0,99)),
texts:texts.map(e=>e.textContent),least:Math.min(...small,99),answers:[...d.querySelectorAll(".answers h3")].map(e=>
[e.textContent,box(e).top,e.parentElement.innerText])}))})</script>"""


@pytest.fixture(scope="module")
def books() -> Books:
    """Books with long names of everything, so that what may overflow does."""
    return Books(naive.varied(500, seed=4, people=300))


def look(page: str, folder: Path, width: int) -> tuple[dict[str, Any], str]:
    """What a browser of a width finds on a page, and what it says on its console."""
    assert BROWSER
    path = folder / "page.html"
    inside = escape(page.replace("</head>", f"{PROBE}</head>"), quote=True)
    # a frame, because a headless window is never narrower than 500
    path.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0"><iframe srcdoc="{inside}" '
                    f'style="width:{width}px;height:2000px;border:0"></iframe>', encoding="utf-8")  # fmt: skip
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
             f"--user-data-dir={folder / 'profile'}", "--window-size=1300,2000", "--dump-dom"]  # fmt: skip
    done = subprocess.run([BROWSER, *flags, path.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    told = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return json.loads(unescape(found[1])), told


@pytest.mark.skipif(not BROWSER and not os.environ.get("CI"), reason="no Chromium here (Debian package chromium)")
@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_it_whole(name: str, lang: str, width: int, books: Books, tmp_path: Path) -> None:
    """Nothing is wider than the screen, no letter of a chart too small to read, no complaint, answers on top."""
    report = command.build(name, books, "publisher")
    seen, told = look(command.shown(report, "html", lang), tmp_path, width)
    assert not told
    assert seen["wide"] == width and seen["scroll"] <= width and not seen["out"] and not seen["texts"]
    assert seen["least"] >= 9
    assert len(seen["answers"]) == len(report.answers) >= 1
    if name == "summary" and lang == "en":
        titles = [title for title, _, _ in seen["answers"]]
        assert titles == ["What did one customer cost me?", "How many did I rent twice?", "How many were mine already?",
                          "Who got my euro?"]  # fmt: skip
        assert seen["answers"][0][1] < 200 and seen["answers"][-1][1] < 1200  # before anything else
        figures = {f.key: f.value for f in report.figures}
        told_of = [re.sub(r"\s", " ", text) for _, _, text in seen["answers"]]
        assert f"for {figures['customers']:,} customers" in told_of[0]
        assert f"{figures['rented_twice']:,} of {figures['customers']:,} customers" in told_of[1]
        assert f"{figures['own_customers']:,} of {figures['customers']:,} customers" in told_of[2]
        assert "51.00 EUR reached publishers" in told_of[3]


class Reader(HTMLParser):
    """Checks that tags nest, and remembers what a page points to."""

    VOID = ("meta", "link", "br", "path", "rect", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.targets: list[str] = []
        self.labels: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag opens."""
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.targets += [v or "" for k, v in attrs if k in ("src", "href", "action", "srcset", "data")]
        if tag == "svg":
            self.labels.append(dict(attrs).get("aria-label"))

    def handle_endtag(self, tag: str) -> None:
        """A tag closes."""
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_a_page_needs_nothing_else(name: str, lang: str, books: Books) -> None:
    """No script, no reference outside; every figure has definition, formula and rows behind it; charts have words."""
    report = command.build(name, books, "advertiser")
    page = command.shown(report, "html", lang)
    reader = Reader()
    reader.feed(page)
    assert not reader.open and reader.targets == ["data:,"]
    assert not {"script", "iframe", "object", "embed", "img", "form"} & set(reader.seen)
    assert not re.search(r"url\(|@import|https?://", page)
    assert page.count("<details>") >= len(report.figures) and page.count("<code>") == len(report.figures)
    assert len(reader.labels) == len(report.charts) and all(label and len(label) > 40 for label in reader.labels)
    assert f'<html lang="{lang}">' in page and "prefers-color-scheme:dark" in page and "@media print" in page
    assert reader.seen.count("h1") == 1 and reader.seen.count("table") == len([t for t in report.tables if t.rows])
