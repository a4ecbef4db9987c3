"""The page in a real browser: nothing is fetched, nothing complains.

Needs Chromium and Playwright for Python, which no extra brings: `pip install playwright`, and a `chromium` on the PATH
(or where TINYSEQ_CHROMIUM says).
"""

import os
import shutil

import pytest

from tests.page.pages import STEPS, make
from tinyseq.errors import RenderError
from tinyseq.render import engines

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None
CHROMIUM = os.environ.get("TINYSEQ_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """Return a function that makes the page of a view, once."""
    try:
        engines.find()
    except RenderError as error:
        pytest.skip(str(error))
    folder, made = tmp_path_factory.mktemp("pages"), {}

    def case(view="unrolled", steps=STEPS, subject="plain"):
        what = (view, steps, subject)
        if what not in made:
            made[what] = make(folder, *what)
        return made[what]

    return case


@pytest.fixture(scope="module")  # no longer: while it runs, no test can start an event loop of its own
def browser():
    """Start Chromium, with a profile that is made for it and thrown away."""
    if sync_playwright is None:
        pytest.skip("Playwright is not installed")
    if not CHROMIUM:
        pytest.skip("there is no Chromium")
    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def show(browser, cases):
    """Open a page; afterwards, see that nothing complained and that nothing but the files was asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(10_000)
    page = context.new_page()
    said, asked, opened = [], [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    def go(view="unrolled", steps=STEPS, subject="plain"):
        case = cases(view, steps, subject)
        opened.append(case.path.as_uri())
        page.goto(opened[-1])
        return page, case

    yield go
    context.close()
    assert said == []
    assert asked == opened
