"""A custom framework, instrumented in ten lines: its tools keep their type, in either order of decorators."""

from dataclasses import dataclass, replace
from functools import partial

import fluxloop
from fluxloop.testing import outline
from fluxloop_custom import register_framework, traced_tool


@dataclass
class Tool:  # the tool object of the framework
    name: str
    run: object


def home_tool(name):  # the decorator of the framework
    return partial(Tool, name)


# How to recognise a tool, and how to insert a recorded function into it:
register_framework("__main__.Tool", lambda tool, recording: replace(tool, run=recording(tool.run, called=tool.name)))


@fluxloop.tool  # works on top, because the framework is registered
@home_tool("weather")
def weather(city):
    return f"sunny in {city}"


@traced_tool(home_tool, "distance")  # works for any framework, registered or not
def distance(a, b):
    return abs(len(a) - len(b)) * 100


with fluxloop.instrument("Planner", observation_type="agent"):
    weather.run("Bologna")
    distance.run("Oslo", "Bologna")
print(outline(next(fluxloop.read_traces("./traces", name="Planner")), inputs=True))

# prints:
# AGENT Planner
#   TOOL weather({'city': 'Bologna'}) -> 'sunny in Bologna'
#   TOOL distance({'a': 'Oslo', 'b': 'Bologna'}) -> 300
