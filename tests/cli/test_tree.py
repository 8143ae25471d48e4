"""
`render`: the tree of a trace, line by line, at any width, in Unicode and ASCII.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading_aids import GOLDEN, head, observation, trace_line
from rich.cells import cell_len

from fluxloop.cli import formatting
from fluxloop.cli.summaries import observation_summary, short_id, summaries
from fluxloop.cli.tree import render
from fluxloop.enums import ObservationType, Status
from fluxloop.models import ObservationData, Trace
from fluxloop.reading import Assembly, read_traces, traces_of

NOW = datetime(2026, 1, 17, 14, 30, 30, tzinfo=UTC)


def drawn_lines(trace, width=100, **options):
    """The tree of *trace* as lines, without colors."""
    return render(trace, width, **options).plain.split("\n")


def golden(name: str) -> Trace:
    return next(trace for trace in read_traces(GOLDEN / "schema_1") if trace.name == name)


def test_a_trace_is_a_header_and_a_tree(no_prices):
    """
    Types, names, durations, tokens, statuses, inputs, outputs, streams, session and tags, in columns.
    """
    assert drawn_lines(golden("WeatherAgent")) == [
        "WeatherAgent  ✓ success  1.33 s  1,652 tokens (1,523 in, 1,024 of them cached, 129 out)",
        "2026-01-17 14:30:22 UTC · trace 5f0cbb9a-3f52-8d1c-9c5e-000000000001",
        "session 7c1e0000-0000-8000-8000-000000000001 · user ada · tags production, eu",
        'metadata version="1.4"',
        "",
        "AGENT       WeatherAgent                                          1.33 s               ✓ success",
        '            │  prompt="Weather in Paris?" → "Take an umbrella."',
        "RETRIEVAL   ├─ find_pages                                          52 ms               ✓ success",
        '            │  │  query="weather in Paris"',
        '            │  │  → [{"id": "doc-7", "score": 0.93, "text": "Paris: mild, some rain"}, {"id": "doc-…',
        "EMBEDDING   │  ╰─ embed · text-embedding-3-small                   21 ms         9 in  ✓ success",
        '            │        text="weather in Paris" → [0.12, -0.5, 0.33]',
        "GENERATION  ├─ plan · gpt-4o                                      579 ms     1,204→87  ✓ success",
        '            │     messages=user: "Weather in Paris?" (after 1 more)',
        '            │     → assistant: get_weather(city="Paris", unit="°C")',
        "TOOL        ├─ get_weather                                         60 ms               ✓ success",
        '            │  │  city="Paris", unit="°C" → "14 °C, light rain ☂"',
        "            │  │  1 redacted",
        "SPAN        │  ╰─ http                                             40 ms               ✓ success",
        "EVENT       ├─ cache_miss",
        '            │     → key="paris"',
        "            │     level debug",
        "CHAIN       ├─ respond                                            607 ms               ✓ success",
        '            │  │  answer="14 °C" → text="Take an umbrella."',
        "GENERATION  │  ╰─ answer · gpt-4o                                 600 ms       310→42  ✓ success",
        '            │        prompt="14 °C, light rain ☂" → "Take an umbrella."',
        "            │        stream of 3 chunks, first after 212 ms",
        "EVALUATION  ╰─ politeness                                        7.00 ms               ✓ success",
        '                  → score=0.9, label="polite"',
    ]


def test_every_status_is_a_word_and_an_error_is_shown_once():
    """
    Statuses are words; an error is shown in full where it was raised, and as a reference in its ancestors.
    """
    assert drawn_lines(golden("TravelAgent"), signs=formatting.ASCII) == [
        "TravelAgent  x error  222 ms",
        "2026-01-17 14:30:24 UTC - trace 5f0cbb9a-3f52-8d1c-9c5e-000000000002 - session thr_9",
        "",
        "AGENT       TravelAgent                                           222 ms               x error",
        '            |  prompt="Book a trip"',
        "            |  LookupError from lookup, see below",
        "TOOL        |- lookup                                            5.00 ms               x error",
        '            |     city="Pariss"',
        "            |     LookupError: no such city: Pariss",
        "TOOL        |- slow_search                                         89 ms               - cancelled",
        '            |     q="Paris"',
        "GENERATION  |- draft - gpt-4o                                      79 ms               o abandoned",
        '            |     > "Take "',
        "            |     stream of 1 chunk, first after 40 ms - 2 cut to the size limit",
        "CHAIN       |- approve                                             49 ms               = interrupted",
        '            |     amount=900 > __interrupt__=[{"value": "Approve 900 EUR?"}]',
        "SPAN        `- worker                                              58 ms               ! crashed",
    ]


def test_a_narrow_terminal_has_the_columns_on_a_second_line():
    """
    Without space for columns, duration and status are on a second line.
    """
    assert drawn_lines(golden("TravelAgent"), 50)[5:10] == [
        "AGENT       TravelAgent",
        "            │  222 ms  ✗ error",
        '            │  prompt="Book a trip"',
        "            │  LookupError from lookup, see below",
        "TOOL        ├─ lookup",
    ]


def test_the_full_view_shortens_nothing():
    """
    The full view has tracebacks, metadata, parameters, and whole values as text or JSON.
    """
    lines = drawn_lines(golden("TravelAgent"), full=True)
    plan = "\n".join(drawn_lines(golden("WeatherAgent"), full=True))

    assert '            │     in   {"city": "Pariss"}' in lines
    assert '            │       File "agent.py", line 12, in lookup' in lines
    assert sum("LookupError: no such city: Pariss" in text for text in lines) == 4
    assert 'model parameters {"temperature": 0}' in plan
    assert 'get_weather(city="Paris", unit="°C")' in plan
    assert "finish reasons tool_calls" in plan
    assert "…" not in plan


def test_a_long_error_is_wrapped_and_never_cut():
    """
    Every word of an error is shown, whatever the width.
    """
    message = " ".join(f"word{n}" for n in range(60)) + "\nand a second line"
    (trace,) = traces_of([observation("a", status="error", error=message)])
    lines = drawn_lines(trace, 60)

    assert all(cell_len(text) <= 60 for text in lines)
    assert " ".join(" ".join(lines).split()).endswith("word58 word59 and a second line")


def test_an_error_of_the_trace_alone_is_in_the_header():
    """
    A trace whose observations were lost shows its own error.
    """
    (trace,) = traces_of([trace_line(status="error", error="lost")])

    assert drawn_lines(trace) == ["t1  ✗ error  333 ms", "2026-01-17 14:30:22 UTC · trace t1 · session s1", "lost"]


def test_a_running_trace_shows_its_duration_so_far():
    """
    A running trace has no end; its durations count until *now*.
    """
    assembly = Assembly("t1")
    assembly.set_open([(True, head("root", type="AGENT"))])

    assert drawn_lines(assembly.trace(), now=NOW)[-1].split() == ["AGENT", "root", "7.88", "s", "●", "running"]


def test_a_deep_tree_keeps_its_names_visible():
    """
    In a tree of hundreds of levels every name is within the width.
    """
    chain = [observation(f"o{n}", f"o{n - 1}" if n else None, seq=n) for n in range(400)]
    (trace,) = traces_of(chain)
    lines = drawn_lines(trace, 80)

    assert all(f"o{n}" in lines[n + 3] for n in range(400))
    assert max(map(cell_len, lines)) <= 80
    assert lines[300].startswith("TOOL        …")


def test_text_that_would_act_on_the_terminal_is_escaped():
    """
    An escape sequence in a name, session, tag or error is shown as text.
    """
    active = "\x1b[31mred\x07"
    records = [
        observation(
            active,
            type="AGENT",
            name=active,
            model=active,
            error=active,
            metadata={"error_type": active, "traceback": active},
        ),
        trace_line(name=active, session_id=active, user_id=active, tags=[active], metadata={active: active}),
    ]
    (trace,) = traces_of(records)
    shown = (
        render(trace, full=True).plain
        + summaries([trace]).plain
        + observation_summary(trace.observations[0], active).plain
    )

    assert "\x1b" not in shown
    assert r"\u001b[31mred\u0007" in shown


texts = st.text(st.characters(codec="utf-8"), max_size=30)
observations = st.builds(
    ObservationData,
    id=st.sampled_from("abcd"),
    parent_id=st.none() | st.sampled_from("abcd"),
    type=st.sampled_from(ObservationType),
    status=st.none() | st.sampled_from(Status),
    name=texts,
    model=st.none() | texts,
    error=st.none() | texts,
    input=st.none() | texts | st.dictionaries(texts, texts),
    output=st.none() | texts | st.lists(texts),
    duration_ms=st.none() | st.floats(),
    start_time=st.datetimes(datetime(2000, 1, 1)).map(lambda time: time.replace(tzinfo=UTC)),
)


@given(
    st.lists(observations, max_size=5),
    st.integers(1, 140),
    st.booleans(),
    st.sampled_from([formatting.UNICODE, formatting.ASCII]),
)
def test_any_trace_can_be_drawn_within_the_width(several, width, full, signs):
    """
    For any trace, no line is wider than the width (or than the minimum width).
    """
    trace = Trace(trace_id="t", name="n", observations=several)
    lines = drawn_lines(trace, width, full=full, signs=signs, now=NOW)

    assert max(map(cell_len, lines)) <= max(width, 40)
    assert summaries([trace], width, signs=signs).cell_len <= max(width, 40)


@pytest.mark.parametrize("width", [50, 100])
def test_summaries_are_aligned(width):
    """
    One line per trace: the names in a column, the error at the end.
    """
    lines = summaries(list(read_traces(GOLDEN / "schema_1")), width).plain.split("\n")

    assert len(lines) == 3
    assert [text.index(name) for text, name in zip(lines, ("Weather", "Travel", "instr"), strict=True)] == [36, 36, 36]
    if width == 100:
        assert lines[1] == (
            "2026-01-17 14:30:24  ✗ error        TravelAgent               222 ms               …00000002  no su…"
        )


def test_the_short_form_of_an_id_is_its_end():
    """
    Ids of one process share their beginning and differ at their end.
    """
    assert short_id("5f0cbb9a-3f52-8d1c-9c5e-000000000001", formatting.UNICODE) == "…00000001"
    assert short_id("trace_abc", formatting.UNICODE) == "trace_abc"


def test_an_observation_on_one_line_has_time_type_and_status():
    """
    A line of ``--follow`` in a pipe: time, type, ending, duration, name, tokens, trace, and output or error.
    """
    weather, travel = golden("WeatherAgent"), golden("TravelAgent")
    plan = next(o for o in weather.observations if o.name == "plan")

    assert observation_summary(plan, "WeatherAgent").plain == (
        "14:30:22.640  GENERATION  ✓ success        579 ms  plan  1,291 tokens (1,204 in, 1,024 of them cached, 87 out)"
        '  in WeatherAgent  → assistant: get_weather(city="Paris", unit="°C")'
    )
    assert observation_summary(travel.observations[1], "").plain == (
        "14:30:24.010  TOOL        ✗ error         5.00 ms  lookup  no such city: Pariss"
    )


def test_drawing_does_not_depend_on_the_clock():
    """
    Without *now*, the tree of a finished trace does not change.
    """
    trace = golden("WeatherAgent")

    assert drawn_lines(trace) == drawn_lines(trace, now=NOW + timedelta(days=1))
