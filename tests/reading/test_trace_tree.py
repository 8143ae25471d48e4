"""
`Trace`: a tree with each observation exactly once, whatever parents they name.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxloop.models import ObservationData, Trace, Usage


def tree(*pairs: tuple[str, str | None]) -> Trace:
    """A trace of SPANs, given as ids and parent ids."""
    return Trace(trace_id="t", observations=[ObservationData(id=a, parent_id=b, type="span", name=a) for a, b in pairs])


def outline(trace: Trace) -> list[str]:
    return ["." * depth + o.name for depth, o in trace.walk()]


def test_children_follow_their_parents_in_start_order():
    """
    ``walk`` is depth-first; ``roots`` and ``children`` give the same tree level by level.
    """
    trace = tree(("a", None), ("b", "a"), ("c", "b"), ("d", "a"), ("e", None))

    assert outline(trace) == ["a", ".b", "..c", ".d", "e"]
    assert [o.name for o in trace.roots] == ["a", "e"]
    assert [o.name for o in trace.children(trace.observations[0])] == ["b", "d"]


def test_an_observation_added_later_is_in_the_tree():
    """
    The index is built again when the number of observations changes.
    """
    trace = tree(("a", None))
    before = outline(trace)
    trace.observations.append(ObservationData(id="b", parent_id="a", type="span", name="b"))

    assert (before, outline(trace)) == (["a"], ["a", ".b"])


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 9)), max_size=12))
def test_every_observation_is_walked_once(pairs):
    """
    Orphans, cycles, own parents and repeated ids: nothing is missing or repeated, and the walk ends.
    """
    trace = tree(*((str(a), None if b is None else str(b)) for a, b in pairs))
    shown = [o for _, o in trace.walk()]

    assert sorted(map(id, shown)) == sorted(map(id, trace.observations))


def test_a_cycle_stays_one_branch():
    """
    Observations that name each other as parents form one branch, which starts at the first of them.
    """
    assert outline(tree(("a", "c"), ("b", "a"), ("c", "b"), ("d", None))) == ["d", "a", ".b", "..c"]


def test_usage_of_a_trace_counts_the_innermost_reports():
    """
    An observation's usage counts unless a descendant reported usage; without any report the usage is None.
    """
    trace = tree(("agent", None), ("call", "agent"), ("tool", "agent"))
    nothing = trace.count_usage()
    for observation, count in zip(trace.observations, (9, 4, None), strict=True):
        observation.usage = Usage(input_tokens=count)

    assert nothing is None
    assert trace.count_usage() == Usage(input_tokens=4)


def test_usages_add_up_field_by_field():
    """
    A count reported by one operand is kept; a count reported by neither stays None.
    """
    total = Usage(input_tokens=1, output_tokens=2) + Usage(input_tokens=3, cache_read_tokens=4)

    assert total == Usage(input_tokens=4, output_tokens=2, cache_read_tokens=4)
    assert (total.reported, Usage().reported) == (True, False)


def test_ids_and_names_given_as_numbers_are_text():
    """
    Numbers as ids are converted, so the parents are found.
    """
    child = ObservationData.model_validate({"id": 2, "parent_id": 1, "type": "tool", "name": 7})

    assert (child.id, child.parent_id, child.name) == ("2", "1", "7")
