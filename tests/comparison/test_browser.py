"""The report in a real browser without network: drawn, usable, legible; skipped only where there is no browser."""

from __future__ import annotations

import pytest

from fedbal.comparison import report
from tests.comparison.browser import Browser, find_browser
from tests.comparison.made import HOSTILE

CHARTS = {
    *("ranks", "curves", "differences", "classes", "weights", "fairness", "personal", "cost", "partition"),
    "tuning",
}
READY = "document.documentElement.dataset.ready === 'yes'"
SETTLED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
SHOWN = "boxes.flatMap((box) => box.data.flatMap((trace) => trace.meta || []))"
DRAWN = """
boxes.filter((box) => {
  const layer = box.querySelector('.cartesianlayer').getBoundingClientRect();
  const marks = [...box.querySelectorAll('.scatterlayer path, .barlayer path, .heatmaplayer image')];
  const large = (at) => at.width + at.height > 2;
  return layer.width > 100 && layer.height > 30 && marks.some((mark) => large(mark.getBoundingClientRect()));
}).map((box) => box.dataset.chart)
"""

NAME = """
(at) => at.id || at.dataset.rule || at.dataset.axis || at.dataset.themeChoice || at.className || at.tagName
"""


@pytest.fixture(scope="module")
def browser(small, tmp_path_factory):
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium or Chrome here")
    folder = tmp_path_factory.mktemp("browser")
    path = report.write(small, folder)
    with Browser(program, folder / "profile") as found:
        found.address = path.as_uri()
        yield found


@pytest.fixture
def page(browser):
    browser.size(1280, 900)
    media(browser)
    browser.visit(browser.address)
    browser.wait(READY)
    return browser


def media(browser, kind="", scheme="light"):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.call("Emulation.setEmulatedMedia", media=kind, features=features)


def test_every_chart_is_drawn_without_a_complaint_or_a_request(page):
    assert set(page.ask("boxes.map((box) => box.dataset.chart)")) == CHARTS
    assert set(page.ask(DRAWN)) == CHARTS
    assert page.errors == []
    assert page.requests == []
    # A name that is a script is a name: on the page, and as text in a chart.
    assert HOSTILE in page.ask("document.body.innerText")
    ticks = page.ask(
        "[...document.querySelectorAll('#chart-differences .ytick')].map((tick) => tick.textContent)"
    )
    assert any(tick.startswith('<script>alert("x")') for tick in ticks)


def test_the_checks_would_see_a_request_an_error_and_nothing_drawn(page):
    page.ask("void fetch('http://127.0.0.1:9/x').catch(() => 0)")
    page.until(lambda: bool(page.ask("1") and page.errors), "the refused request is noticed")
    page.errors.clear()
    page.ask("void setTimeout(() => { throw new Error('seen') })")
    page.until(lambda: bool(page.ask("1")) and "seen" in str(page.errors), "the error is noticed")
    page.ask("document.querySelectorAll('#chart-cost .barlayer').forEach((layer) => layer.remove())")
    assert set(page.ask(DRAWN)) == CHARTS - {"cost"}
    # A script of somebody else's does not even run.
    script = "Object.assign(document.createElement('script'), { textContent: 'window.bad = 1' })"
    page.ask(f"document.body.append({script})")
    assert page.ask("window.bad === undefined")


def test_a_rule_is_hidden_in_all_charts_and_comes_back(page):
    before = page.ask(SHOWN)
    assert before.count("fedprox") >= 8
    page.ask("document.querySelector('[data-rule=\"2\"]').click()")
    page.ask(SETTLED)
    assert "fedprox" not in page.ask(SHOWN)
    assert "fedavg" in page.ask(SHOWN)
    assert page.ask("document.querySelector('[data-rule=\"2\"]').getAttribute('aria-pressed')") == "false"
    options = "[...document.getElementById('weight-rule').options].map((one) => one.textContent)"
    assert "fedprox" not in page.ask(options)
    page.ask("document.querySelector('[data-rule=\"2\"]').click()")
    page.ask(SETTLED)
    assert page.ask(SHOWN).count("fedprox") == before.count("fedprox")
    for at in range(6):
        page.ask(f"document.querySelector('[data-rule=\"{at}\"]').click()")
    page.ask(SETTLED)
    assert page.ask(SHOWN) == []
    assert page.errors == []


def test_the_axis_the_outcome_the_data_and_the_rule_can_be_chosen(page):
    end = "Math.max(...document.getElementById('chart-curves').data.flatMap((trace) => trace.x))"
    title = "document.getElementById('chart-curves').layout.{}.title.text"
    assert page.ask(end) == 2
    for axis, word in (("bytes", "MB"), ("seconds", "client-seconds"), ("rounds", "round")):
        page.ask(f"document.querySelector('[data-axis={axis}]').click()")
        assert page.ask(title.format("xaxis")).startswith(word)
        assert page.ask("document.querySelectorAll('[data-axis][aria-pressed=true]').length") == 1
    assert page.ask(end) == 2
    choose(page, "outcome", 1)
    assert page.ask(title.format("yaxis")) != "balanced accuracy, %"
    assert "exploratory" in page.ask("document.getElementById('outcome').selectedOptions[0].textContent")
    values = "JSON.stringify(document.getElementById('chart-partition').data.map((trace) => trace.y))"
    first = page.ask(values)
    choose(page, "dataset", 1)
    assert page.ask(values) != first
    choose(page, "weight-rule", 2)
    shown = page.ask("document.getElementById('chart-weights').data.at(-1).meta[0]")
    assert shown == page.ask("document.getElementById('weight-rule').selectedOptions[0].textContent")


def choose(page, select, value):
    page.ask(
        f"void ((one) => {{ one.value = '{value}'; one.dispatchEvent(new Event('change')) }})"
        f"(document.getElementById('{select}'))"
    )


def test_themes_follow_the_system_and_the_switch(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#chart-curves .xtick text')).fill"
    light = page.ask(paper), page.ask(ink)
    media(page, scheme="dark")
    dark = page.ask(paper), page.ask(ink)
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    page.ask("document.querySelector('[data-theme-choice=light]').click()")
    assert (page.ask(paper), page.ask(ink)) == light
    media(page)
    page.ask("document.querySelector('[data-theme-choice=dark]').click()")
    assert (page.ask(paper), page.ask(ink)) == dark
    # On paper it is black on white all the same.
    media(page, "print")
    assert page.ask(paper) == "rgb(255, 255, 255)"
    assert page.ask(ink) == "rgb(0, 0, 0)"
    page.ask("document.querySelector('[data-theme-choice=auto]').click()")


def test_the_keyboard_reaches_every_control(page):
    reached = []
    for _ in range(60):
        page.press("Tab")
        reached.append(page.ask(f"(({NAME})(document.activeElement))"))
    assert reached[0] == "skip"
    order = ["auto", "dark", "dataset", "0", "5", "rounds", "seconds", "outcome"]
    places = [reached.index(name) for name in order]
    assert places == sorted(places)
    page.ask("document.querySelector('[data-rule=\"0\"]').focus()")
    page.press(" ")
    assert page.ask("document.activeElement.getAttribute('aria-pressed')") == "false"
    outline = page.ask("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.press("Enter")
    assert page.ask("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_every_chart_has_its_name_and_its_table(page):
    names = page.ask("boxes.map((box) => [box.getAttribute('role'), box.getAttribute('aria-label')])")
    assert all(role == "img" and label for role, label in names)
    page.ask("document.querySelectorAll('figure details').forEach((one) => { one.open = true })")
    page.wait(
        "[...document.querySelectorAll('figure details')].every((one) => one.querySelectorAll('td').length)"
    )
    cells = page.ask(
        "[...document.querySelectorAll('#chart-curves ~ details td')].map((cell) => cell.textContent)"
    )
    assert len(cells) > 20
    page.ask("document.querySelector('[data-rule=\"0\"]').click()")
    page.ask(SETTLED)
    rows = (
        "[...document.querySelectorAll('#chart-curves ~ details tbody th')].map((cell) => cell.textContent)"
    )
    assert "fedavg" not in page.ask(rows)


def test_the_ranked_table_sorts(page):
    rows = "[...document.querySelector('.ranked').tBodies[0].rows]"
    column = f"{rows}.map((row) => Number(row.cells[1].dataset.value))"
    click = "document.querySelector('.ranked').tHead.rows[0].cells[1].querySelector('button').click()"
    page.ask(click)
    values = page.ask(column)
    assert values == sorted(values)
    page.ask(click)
    assert page.ask(column) == sorted(values, reverse=True)
    assert page.ask("document.querySelectorAll('.ranked th[aria-sort]').length") == 1


def test_a_phone_shows_it_without_scrolling_sideways(browser):
    media(browser)
    browser.size(390, 844, phone=True)
    browser.visit(browser.address)
    browser.wait(READY)
    assert browser.ask("document.documentElement.scrollWidth") == 390
    assert browser.ask("innerWidth") == 390
    assert set(browser.ask(DRAWN)) == CHARTS
    widths = browser.ask("boxes.map((box) => box.getBoundingClientRect().right)")
    assert max(widths) <= 390
    # What is wider scrolls in a box of its own.
    assert browser.ask(
        "((box) => box.scrollWidth > box.clientWidth)(document.querySelector('.ranked').parentElement)"
    )


def test_paper_holds_the_charts(page):
    page.ask("window.dispatchEvent(new Event('beforeprint'))")
    assert page.ask("Math.max(...boxes.map((box) => box._fullLayout.width))") == 680
    assert set(page.ask(DRAWN)) == CHARTS
    page.ask("window.dispatchEvent(new Event('afterprint'))")
    page.wait("Math.min(...boxes.map((box) => box._fullLayout.width)) > 800")
    paper = page.paper()
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") >= 4
    assert page.errors == []
