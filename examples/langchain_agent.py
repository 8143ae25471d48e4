"""An agent made by LangChain's `create_agent`: an AGENT with its model calls and its tools."""

from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

import fluxloop
from fluxloop.testing import capture
from fluxloop_langchain import install


class Model(FakeMessagesListChatModel):
    def bind_tools(self, tools, **kwargs):
        return self


@tool
@fluxloop.tool
def celsius(fahrenheit: float) -> float:
    """Convert a temperature."""
    return round((fahrenheit - 32) / 1.8, 1)


call = {"name": "celsius", "args": {"fahrenheit": 70}, "id": "call-1"}
usage = {"input_tokens": 30, "output_tokens": 8, "total_tokens": 38}
replies = [AIMessage("", tool_calls=[call], usage_metadata=usage), AIMessage("21.1 °C.", usage_metadata=usage)]
agent = create_agent(Model(responses=replies), [celsius], name="weather")

install()  # records every run from now on, without a callback argument
with capture() as captured:
    agent.invoke({"messages": [("user", "What is 70 °F?")]})

(trace,) = captured.traces()
print(trace.observations[0].type.name, trace.name, trace.status.value, "-", trace.usage.total_tokens, "tokens")
for done in trace.observations:
    if done.type.name in ("GENERATION", "TOOL"):
        print(" ", done.type.name, done.name, "->", done.output if done.usage is None else done.output["content"])

# prints:
# AGENT weather success - 76 tokens
#   GENERATION Model ->
#   TOOL celsius -> 21.1
#   GENERATION Model -> 21.1 °C.
