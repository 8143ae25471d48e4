"""
The pages in a real browser, from disk and without network: charts, filters, sorting, traces, hostile outputs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from experiments.evaluation_aids import experiment, hasty_agent, lines_of, write_lines

import fluxloop
from fluxloop import experiments

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "javascript:document.title='owned'",
    "'\"><svg onload=document.title='owned'>",
    "{{ 7*7 }} {% raw %} ${7*7}",
    "\u202eevil\u202c \u2066x\u2069 \u2028 \u0000 \ufeff",
    "x" * 1_000_000,
    "]]> --> <!-- </style>",
]


@pytest.fixture(scope="module")
def browser():
    """Chromium without network."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    options = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield running
        running.close()


class Opened:
    """A page that was opened from disk, with everything that went wrong in it."""

    def __init__(self, browser, path: Path, scheme="light"):
        self.context = browser.new_context(color_scheme=scheme, offline=True, viewport={"width": 1280, "height": 900})
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        self.page.goto(path.as_uri())

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def column(self, name: str) -> list[str]:
        position = self.texts("#runs th button").index(name) + 1
        return self.texts(f"#runs tr.run td:nth-child({position})")


@pytest.fixture
def report(tmp_path):
    """The report of an experiment with personas, repeats, a failed input and a baseline."""
    cases = [{"input": city, "persona": persona} for city in ("Rome", "nowhere") for persona in ("expert", "novice")]
    before = experiment(tmp_path / "before", cases)
    after = experiment(tmp_path / "after", cases, iterations=2)
    return experiments.evaluate(after, baseline=before).output / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_from_disk_with_its_charts(browser, report, scheme, tmp_path):
    """
    No request but the file itself, no message in the console, charts that have a size, colors of the scheme.
    """
    opened = Opened(browser, report, scheme)

    assert opened.requests == [report.as_uri()]
    assert opened.texts("h1") == ["demo"]
    boxes = [chart.bounding_box() for chart in opened.page.locator("#charts svg").all()]
    assert len(boxes) == 6
    assert all(box["width"] > 200 and box["height"] > 20 for box in boxes)
    bars = [bar.bounding_box()["width"] for bar in opened.page.locator("#charts svg rect").all()]
    assert max(bars) > 50
    background = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(247, 248, 250)", "dark": "rgb(17, 22, 28)"}[scheme]
    assert opened.problems == []


def test_runs_can_be_filtered_and_sorted(browser, report):
    """
    By text, result and persona; by each column, up and down.
    """
    opened = Opened(browser, report)

    assert opened.texts("#count") == ["8 of 8 runs"]
    opened.page.select_option("#result", "failed")
    assert opened.column("Input") == ["nowhere"] * 4
    opened.page.select_option("#persona", "novice")
    assert opened.texts("#count") == ["2 of 8 runs"]
    opened.page.select_option("#result", "")
    opened.page.fill("#search", "ROME")
    assert opened.column("Input") == ["Rome"] * 2
    opened.page.select_option("#persona", "")
    opened.page.fill("#search", "")

    opened.page.click("#runs th button >> text=Run")
    opened.page.click("#runs th button >> text=Run")
    assert opened.column("Run\n▼" if "Run\n▼" in opened.texts("#runs th button") else "Run ▼") == list("76543210")
    assert opened.page.get_attribute("#runs th[data-key=run]", "aria-sort") == "descending"
    assert opened.problems == []


def test_a_run_opens_with_its_trace(browser, report):
    """
    By mouse and by keyboard: values, scores with their rules, and the tree.
    """
    opened = Opened(browser, report)

    opened.page.select_option("#result", "failed")
    opened.page.focus("tr.run")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector(".tree")

    tree = opened.texts(".tree div")
    assert [line.split()[:2] for line in tree] == [
        ["AGENT", "travel_agent"],
        ["GENERATION", "model"],
        ["TOOL", "search"],
    ]
    assert "no such city" in tree[2]
    assert "✗ success: error: LookupError: no such city" in opened.texts(".detail li")
    opened.page.click("tr.run")
    assert opened.texts(".detail") == []
    assert opened.problems == []


def test_values_are_shown_as_they_were_recorded(browser, tmp_path):
    """
    Small values are in the page as they are, and large ones as their beginning. Both look the same, and no number is
    rounded as JavaScript would.
    """

    @fluxloop.agent
    def agent(value):
        with fluxloop.observe("small", "tool", input={"id": 12345678901234567, "share": 1.0, "tiny": 1e-9}) as call:
            call.output = ["a", None, {"deep": [True]}]
        if value == "large":
            with fluxloop.observe("large", "tool", input={"text": "x" * 5_000}) as call:
                call.output = "y" * 5_000
        return value

    report = experiments.evaluate(experiment(tmp_path / "demo", ["small", "large"], agent)).output / "report.html"
    opened = Opened(browser, report)
    for row in opened.page.locator("tr.run").all():
        row.click()
    opened.page.wait_for_function("document.querySelectorAll('.tree').length === 2")

    lines = opened.texts(".tree div")
    small = [line.split(" ms ")[1] for line in lines if "small" in line.split("(")[0] and "TOOL" in line]
    assert small == ['({"id":12345678901234567,"share":1.0,"tiny":1e-9}) → ["a",null,{"deep":[true]}]'] * 2
    (large,) = [line.split(" ms ")[1] for line in lines if line.startswith("TOOL large")]
    assert large == f'({{"text":"{"x" * 151}…) → {"y" * 160}…'
    assert opened.problems == []


def test_hostile_values_are_shown_and_do_nothing(browser, tmp_path):
    """
    Scripts, markup, links, template code, marks that reorder text, and a megabyte: everywhere a value is shown.
    """

    @fluxloop.tool(name=HOSTILE[0])
    def hostile_tool(value):
        return value

    @fluxloop.agent
    def hostile_agent(value):
        hostile_tool(value)
        if value.startswith("'"):
            raise ValueError(value)
        return value

    cases = [{"input": value, "persona": value[:200], "expected": value} for value in HOSTILE]
    folder = experiment(tmp_path / "demo", cases, hostile_agent, name=HOSTILE[1])
    report = experiments.evaluate(
        folder, rules=["success", "similarity"], evaluators=[lambda output: HOSTILE[0]], baseline=folder
    )
    page = experiments.compare(folder, folder, html=tmp_path / "compare.html").report

    opened = Opened(browser, report.output / "report.html")
    for row in opened.page.locator("tr.run").all():
        row.click()
    opened.page.wait_for_function(f"document.querySelectorAll('.tree').length === {len(HOSTILE)}")

    assert opened.texts("h1") == [HOSTILE[1]]
    assert opened.page.locator(".detail").count() == len(HOSTILE)
    assert opened.page.locator("main script, main img, main a, main iframe, main object").count() == 0
    assert opened.page.title() != "owned"
    assert "\\u202eevil\\u202c" in opened.page.locator("#runs").inner_text()
    assert "\u202e" not in opened.page.locator("#runs").inner_text()
    assert opened.problems == []
    assert (report.output / "report.html").stat().st_size < 1_000_000
    other = Opened(browser, page)
    assert (other.page.title(), other.problems) == ("demo and demo", [])


def test_the_page_refuses_scripts_that_are_not_its_own(browser, report, tmp_path):
    """
    The policy of the page blocks a script that is put into it.
    """
    text = report.read_text().replace("</main>", "</main><script>document.title='owned'</script>")
    changed = tmp_path / "changed.html"
    changed.write_text(text)

    opened = Opened(browser, changed)

    assert opened.page.title() != "owned"
    assert "Content Security Policy" in opened.problems[0]


def test_the_report_prints(browser, report, tmp_path):
    """
    The controls are not printed, and the pages are not empty.
    """
    opened = Opened(browser, report)
    opened.page.emulate_media(media="print")

    assert not opened.page.locator(".controls").is_visible()
    assert len(opened.page.pdf()) > 10_000


def test_ten_thousand_runs_stay_quick(browser, tmp_path):
    """
    The table draws the first rows, more on request, and filters all.
    """
    folder = experiment(tmp_path / "demo", ["Rome"])
    (row,) = lines_of(folder / "trace_summary.jsonl")
    rows = [{**row, "run": number, "input_id": f"i{number}", "input": f"city {number}"} for number in range(10_000)]
    write_lines(folder / "trace_summary.jsonl", rows)
    report = experiments.evaluate(folder).output / "report.html"

    opened = Opened(browser, report)

    assert opened.page.locator("tr.run").count() == 200
    opened.page.click("#more")
    assert opened.page.locator("tr.run").count() == 400
    opened.page.fill("#search", "city 9999")
    assert opened.texts("#count") == ["1 of 10,000 runs"]
    opened.page.click("tr.run")
    opened.page.wait_for_selector(".tree")
    assert "AGENT travel_agent" in opened.texts(".tree div")[0]
    assert opened.problems == []
    assert report.stat().st_size < 30_000_000


def test_a_page_has_the_traces_that_fit_and_says_how_many_do_not(browser, tmp_path, monkeypatch):
    """
    Runs that did not pass have a budget of their own; what was left out is stated above the table and in the row.
    """
    monkeypatch.setattr("fluxloop.experiments.evaluation.reports.html.DETAIL_BYTES", {False: 100, True: 100})
    cases = [f"Rome {number}" for number in range(70)] + ["nowhere"]
    folder = experiment(tmp_path / "demo", cases)

    opened = Opened(browser, experiments.evaluate(folder).output / "report.html")

    assert any("6 runs are shown without their trace" in text for text in opened.texts("p.note"))
    opened.page.select_option("#result", "failed")
    opened.page.click("tr.run")
    opened.page.wait_for_selector(".tree")
    opened.page.select_option("#result", "passed")
    opened.page.fill("#search", "Rome 69")
    opened.page.click("tr.run")
    assert "The trace of this run is not in this page; see per_trace.jsonl." in opened.texts(".detail .note")
    assert opened.problems == []


def test_the_comparison_shows_trees_side_by_side(browser, tmp_path):
    """
    Removed and added steps have their own color; the verdict is shown.
    """
    before = experiment(tmp_path / "before", ["Rome"])
    after = experiment(tmp_path / "after", ["Rome"], hasty_agent)
    config = {"rules": [{"tool_called": {"tool": "search"}}]}
    page = experiments.compare(before, after, config=config, html=tmp_path / "compare.html").report

    opened = Opened(browser, page)

    assert opened.texts("#verdict") == ["regressed"]
    assert '-   TOOL search query="Rome", limit=3' in opened.texts(".diff .removed")
    assert opened.texts(".diff .added") == ["+ AGENT hasty_agent"]
    assert opened.problems == []
