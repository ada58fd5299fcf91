"""The page in a real browser: Debian's Chromium, driven by Playwright.

Whatever a test does with it, the page asks for nothing, opens no dialog and logs no error.
"""

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from samples import failed, noise, pair, parity

from fmnist.report.choose import sessions_of
from fmnist.report.page import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium is installed: apt-get install chromium", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # noqa: E402
from playwright.sync_api import (  # noqa: E402
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Error,
    Page,
    Request,
    expect,
    sync_playwright,
)

pytestmark = pytest.mark.slow
ATTACK = "<img src=x onerror=alert(1)>"
FORMULA = "=HYPERLINK(1,2)"
MODELS = (*(f"dense_{i}" for i in range(11)), ATTACK, FORMULA, "a|b")
N_ROWS = 2 * 2 * len(MODELS)
ROWS_OF_A_PAGE = 25
PLAIN_HOST = "page.test"
"""Not localhost: without https, a browser keeps the clipboard from such a host."""
Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page of two sessions, with odd names, a failure, and their trust."""
    records = []
    for day in ("2026-11-20", "2026-11-21"):
        about: dict[str, Any] = {"session": day, "started_at": f"{day}T00:00:00Z"}
        for i, model in enumerate(MODELS):
            size = 95 + i  # as text, 100 comes before 95
            parts = {"total": size, "trainable": size, "dense": size, "conv": 0, "other": 0}
            records += pair(model=model, parameters=parts, **about)
        records += [*(noise(process=p, **about) for p in range(3)), parity(**about)]
        records += [failed(model="broken", **about)]
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page(sessions_of(records)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        here = f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[here])
        yield browser
        browser.close()


@dataclass
class Watch:
    """What a tab must not do: ask for anything but the page, log an error, open a dialog."""

    address: str
    faults: list[str] = field(default_factory=list)

    def requested(self, request: Request) -> None:
        """Note a request to anywhere else."""
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.faults.append(f"asked {request.url}")

    def logged(self, message: ConsoleMessage) -> None:
        """Note an error in the console."""
        if message.type == "error":
            self.faults.append(message.text)

    def failed(self, error: Error) -> None:
        """Note an exception that nothing caught."""
        self.faults.append(str(error))

    def asked(self, dialog: Dialog) -> None:
        """Note a dialog, and close it."""
        self.faults.append(f"dialog {dialog.message}")
        dialog.dismiss()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """What opens the page, by default wide, in a context of the test's own options."""
    watches: list[Watch] = []
    contexts: list[BrowserContext] = []

    def opened(where: str = address, width: int = 1440, **options: Any) -> Page:  # noqa: ANN401
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        tab, watch = context.new_page(), Watch(where.partition("#")[0])
        watches.append(watch)
        tab.on("request", watch.requested)
        tab.on("console", watch.logged)
        tab.on("pageerror", watch.failed)
        tab.on("dialog", watch.asked)
        tab.goto(where)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert [watch.faults for watch in watches] == [[] for _ in watches]


def column(tab: Page, title: str) -> list[str]:
    """Return what the rows on the screen show in a column."""
    shown: list[str] = tab.evaluate(
        """title => {
            const table = document.querySelector("table.cells");
            const titles = [...table.tHead.rows[0].cells].map((cell) => cell.innerText.trim());
            const column = titles.indexOf(title);
            return [...table.tBodies[0].rows].map((row) => row.cells[column].innerText);
        }""",
        title,
    )
    return shown


def info(tab: Page) -> str:
    """Return what the page says about the rows on the screen."""
    return tab.locator(".dt-info").inner_text()


def choose(tab: Page, title: str, value: str) -> None:
    """Choose a value of a column in its select."""
    tab.locator(".filters").get_by_label(title, exact=True).select_option(value)


def sort_by(tab: Page, title: str) -> None:
    """Press the button that sorts by a column; return once the rows are sorted."""
    header = tab.get_by_role("columnheader", name=title).first
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")


def copied(tab: Page, name: str) -> str:
    """Press a button that copies, and return what is in the clipboard then."""
    tab.get_by_role("button", name=name).click()
    tab.get_by_text("rows copied").wait_for()
    text: str = tab.evaluate("navigator.clipboard.readText()")
    return text


def test_columns_sort_by_value(visit: Visit) -> None:
    """Numbers sort as numbers, gaps at an end, and by the keyboard too."""
    tab = visit()
    sort_by(tab, "parameters")
    first = column(tab, "parameters")
    header = tab.get_by_role("columnheader", name="parameters").first
    header.get_by_role("button").press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    last = column(tab, "parameters")

    assert first == sorted(first, key=int)
    assert first[0] == "95"
    assert last == sorted(last, key=int, reverse=True)
    assert last[0] == str(94 + len(MODELS))


def test_filters_and_search_choose_rows(visit: Visit) -> None:
    """A select takes exactly its value, the search takes what holds its words."""
    tab = visit()
    choose(tab, "model", "dense_1")
    exact = info(tab)
    choose(tab, "backend", "jax")
    both = info(tab)
    choose(tab, "model", "")
    choose(tab, "backend", "")
    tab.get_by_label("Search").fill("dense_1")

    assert exact.startswith("1 to 4 of 4 cells")
    assert both.startswith("1 to 2 of 2 cells")
    assert "of 8 cells" in info(tab)  # dense_10 too
    tab.get_by_label("Search").fill("")
    assert info(tab) == f"1 to {ROWS_OF_A_PAGE} of {N_ROWS} cells"


def test_hostile_name_can_be_chosen(visit: Visit) -> None:
    """A name that is markup is a value like any other: chosen, shown as text, and never run."""
    tab = visit()
    choose(tab, "model", ATTACK)

    assert column(tab, "model") == [ATTACK] * 4
    assert tab.locator("table.cells img").count() == 0


def test_columns_are_chosen(visit: Visit) -> None:
    """A column that was not shown is, and the other way round; the row's name stays."""
    tab = visit()
    tab.get_by_text("Columns", exact=True).click()
    tab.get_by_label("family", exact=True).check()
    tab.get_by_label("verdict", exact=True).uncheck()

    titles = tab.locator("table.cells thead th").all_inner_texts()
    assert "family" in titles
    assert "verdict" not in titles
    assert tab.locator(".columns").get_by_label("model", exact=True).is_disabled()


def test_markdown_is_what_is_shown(visit: Visit) -> None:
    """Copied Markdown has the rows that pass, in their order, the shown columns, and the terms."""
    tab = visit()
    sort_by(tab, "model")
    choose(tab, "backend", "jax")
    lines = copied(tab, "Copy as Markdown").splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines[2:] if line.startswith("|")]

    assert lines[0].startswith("| model | backend | ")
    assert "---:" in lines[1]
    assert len(cells) == N_ROWS // 2
    assert {row[1] for row in cells} == {"jax"}
    assert {row[0] for row in cells} >= {"a\\|b", "&lt;img src=x onerror=alert(1)>"}
    assert "geometric mean of n steady epochs" in lines[-1]


def test_csv_is_read_back_and_runs_nothing(visit: Visit) -> None:
    """Copied CSV has six digits, as many fields in each row, and no cell that is a formula."""
    tab = visit()
    choose(tab, "session", "2026-11-20")
    rows = list(csv.reader(io.StringIO(copied(tab, "Copy as CSV"))))
    header, body = rows[0], [row for row in rows[1:] if not row[0].startswith("# ")]
    by_title = [dict(zip(header, row, strict=True)) for row in body]

    assert len(body) == N_ROWS // 2
    assert {row["epoch [s]"] for row in by_title} == {"1", "2"}
    assert {row["ratio"] for row in by_title} == {"", "0.5"}
    assert f"'{FORMULA}" in {row["model"] for row in by_title}
    assert not [text for row in rows for text in row if text.startswith(("=", "@", "\t", "\r"))]
    assert any("geometric mean" in row[0] for row in rows[len(body) :])


@pytest.mark.parametrize(("system", "other"), [("light", "dark"), ("dark", "light")])
def test_theme_follows_the_system_until_chosen(visit: Visit, system: Any, other: str) -> None:  # noqa: ANN401
    """The page is as light as the system says, then as chosen, and still so when reloaded."""
    tab = visit(color_scheme=system)
    paper = "getComputedStyle(document.body).backgroundColor"
    before = tab.evaluate(paper)
    tab.get_by_label("Theme").select_option(other)
    after = tab.evaluate(paper)
    tab.reload()

    assert before != after
    assert tab.evaluate(paper) == after
    assert (before == "rgb(253, 253, 251)") == (system == "light")


def test_pictures_are_drawn_when_seen(visit: Visit) -> None:
    """A picture is drawn once it comes into view, in the theme's colours; all have their words."""
    tab = visit()
    tab.locator("details.session").last.locator("summary").first.click()
    figure = tab.locator("figure.picture").last
    drawing = figure.locator(".live svg")
    assert drawing.count() == 0
    figure.scroll_into_view_if_needed()
    drawing.wait_for()
    light = drawing.inner_html()
    tab.get_by_label("Theme").select_option("dark")
    figure.scroll_into_view_if_needed()
    tab.wait_for_function(
        "([e, old]) => e.innerHTML && e.querySelector('svg').innerHTML !== old",
        arg=[figure.locator(".live").element_handle(), light],
    )

    assert "<path" in light
    assert len(figure.locator(".live").get_attribute("aria-label") or "") > 40


def test_marks_tell_hostile_names_as_text(visit: Visit) -> None:
    """A mark that is pointed at tells its model's name, whatever it is, as text."""
    tab = visit()
    marks = tab.locator("figure.picture").first.locator(".live .mark-symbol path")
    marks.first.wait_for()
    tooltip = tab.locator("#vg-tooltip-element")
    told = []
    for mark in marks.all():
        mark.hover(force=True)
        told.append(tooltip.inner_text())

    assert any(ATTACK in text for text in told)
    assert tab.locator("#vg-tooltip-element img").count() == 0


def test_pictures_are_saved(visit: Visit) -> None:
    """A picture is saved as PNG and as SVG, with its title, by the page alone."""
    tab = visit()
    figure = tab.locator("figure.picture").first
    content = {}
    for form in ("PNG", "SVG"):
        with tab.expect_download() as download:
            figure.get_by_role("button", name=f"Save as {form}").click()
        content[download.value.suggested_filename] = Path(download.value.path()).read_bytes()

    assert content["speed.png"].startswith(b"\x89PNG")
    assert (figure.locator(".title").inner_text().encode()) in content["speed.svg"]


@pytest.mark.parametrize("width", [360, 820, 1440])
def test_page_is_no_wider_than_the_screen(visit: Visit, width: int) -> None:
    """Tables and pictures scroll by themselves: the page does not, on a phone or a desk."""
    tab = visit(width=width)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    tab.locator("figure.picture .live svg").first.wait_for()

    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_print_shows_what_the_screen_hides(visit: Visit) -> None:
    """On paper stand the terms, and pictures as drawn for paper; what can be pressed does not."""
    tab = visit(color_scheme="dark")
    tab.locator("figure.picture .live svg").first.wait_for()
    tab.emulate_media(media="print")
    terms = tab.locator(".all-cells .terms li").first.bounding_box()

    assert terms is not None
    assert terms["height"] > 0
    assert tab.locator("figure.picture img.still").first.is_visible()
    assert not tab.locator("figure.picture .live").first.is_visible()
    assert not tab.locator(".controls").first.is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 251)"


def test_page_is_whole_without_scripts(visit: Visit) -> None:
    """Without scripts every row and the first session's pictures are there, and no dead control."""
    tab = visit(java_script_enabled=False)

    assert tab.locator("table.cells tbody tr").count() == N_ROWS
    assert tab.locator("img.still").first.is_visible()
    for controls in (".controls", ".theme", ".save"):
        assert not tab.locator(controls).first.is_visible()


def test_keyboard_reaches_everything(visit: Visit) -> None:
    """The first key leads past the header; tables that scroll and all controls take the focus."""
    tab = visit(width=360)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    focused = "[document.activeElement.tagName, document.activeElement.className].join(' ')"
    seen = set()
    for _ in range(60):
        tab.keyboard.press("Tab")
        seen.add(tab.evaluate(focused))

    assert {"SELECT ", "SUMMARY ", "BUTTON ", "SPAN dt-column-order"} <= seen
    assert any("dt-layout-table" in each and "scroll" in each for each in seen)


def test_link_opens_its_session(visit: Visit, address: str) -> None:
    """A link to a session that is closed opens it, from within the page and from outside."""
    tab = visit()
    closed = tab.locator("details.session").last
    assert closed.get_attribute("open") is None
    tab.get_by_role("navigation", name="Sessions").get_by_role("link").last.click()
    tab.wait_for_function("e => e.open", arg=closed.element_handle())
    again = visit(f"{address}#{closed.get_attribute('id')}")

    again.wait_for_function("document.querySelector('details.session:last-of-type').open")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_fault(visit: Visit, theme: Any) -> None:  # noqa: ANN401
    """axe-core finds nothing wrong with the page, all of it opened, in either theme."""
    tab = visit(color_scheme=theme)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    tab.locator("figure.picture .live svg").first.wait_for()
    found = Axe().run(tab)

    assert found.violations_count == 0, found.generate_report()


def test_page_is_served_by_any_host(visit: Visit, address: str) -> None:
    """From a plain web server it works too: nothing else is asked for; text to copy is shown."""
    folder = Path(address.removeprefix("file://")).parent
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("localhost", 0), partial(Handler, directory=folder)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        tab = visit(f"http://{PLAIN_HOST}:{server.server_port}/page.html")
        shown = info(tab)
        tab.get_by_role("button", name="Copy as Markdown").click()
        text = tab.get_by_label("copy this text").input_value()
        server.shutdown()
        thread.join()

    assert shown == f"1 to {ROWS_OF_A_PAGE} of {N_ROWS} cells"
    assert text.startswith("| model | backend | ")
    assert asked == ["/page.html"]
