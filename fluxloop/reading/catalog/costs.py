"""
The costs of traces, computed from the facts of an index when they are first asked for, and kept until prices change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import orjson

from ...llm.price_library import Call
from ...llm.prices import Cost, Counts, Prices, Pricing
from .facts import Fact, Label, counted_calls, facts_in
from .query import Query
from .store import Store

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cost_of_facts(facts: Mapping[str, Fact], label_of: Callable[[int], Label], prices: Prices, time: datetime) -> Cost:
    """Return the cost of the model calls among *facts*, each call counted once, at the prices of *time*."""
    total = Cost()
    for key, counts in counted_calls(facts, label_of):
        total += cost_of_call(label_of(facts[key][1]), counts, prices, time)
    return total


def cost_of_call(label: Label, counts: Counts | None, prices: Prices, time: datetime) -> Cost:
    """Return the cost of one model call."""
    if counts is None or not label.model:
        return Cost(unknown=(label.model or "",))
    return prices.cost(Call(label.model, label.provider, label.context), counts, time)


def add_costs(store: Store, pricing: Pricing, chosen: Query) -> None:
    """
    Compute the costs of the traces whose number *chosen*, a SELECT, returns, unless they are known.

    Where the index cannot be written now, the costs stay unknown.
    """
    known = store.connection.execute("SELECT version FROM prices").fetchone()
    missing = "" if known != (pricing.version,) else "AND number NOT IN (SELECT number FROM costs)"
    columns = "SELECT number, start_us, facts FROM traces JOIN facts USING (number)"
    sql = f"{columns} WHERE number IN ({chosen.condition}) {missing}"
    rows = []
    for number, start_us, data in store.connection.execute(sql, chosen.parameters):
        time = _EPOCH + timedelta(microseconds=start_us or 0)
        cost = cost_of_facts(facts_in(data), store.labels.__getitem__, pricing.prices, time)
        rows.append((number, cost.dollars, cost.calls, orjson.dumps(cost.unknown).decode()))
    if not rows and known == (pricing.version,):
        return
    with suppress(sqlite3.OperationalError), store.transaction():
        if known != (pricing.version,):
            store.connection.execute("DELETE FROM costs")
            store.connection.execute("DELETE FROM prices")
            store.connection.execute("INSERT INTO prices VALUES (?)", (pricing.version,))
        store.connection.executemany("INSERT OR REPLACE INTO costs VALUES (?, ?, ?, ?)", rows)
