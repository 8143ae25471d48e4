"""
A graph that asks a human before it sends a mail, and continues with the answer.
"""

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from fluxloop.testing import capture
from fluxloop_langgraph import waiting, wrap_graph


def draft(state: MessagesState) -> MessagesState:
    return {"messages": [("assistant", "Dear Ada, ...")]}


def review(state: MessagesState) -> MessagesState:
    answer = interrupt("Send it?")
    return {"messages": [("user", answer)]}


builder = StateGraph(MessagesState)
builder.add_sequence([draft, review])
builder.add_edge(START, "draft")
graph = wrap_graph(builder.compile(checkpointer=InMemorySaver()))

thread = {"configurable": {"thread_id": "mail-7"}}
with capture() as captured:
    graph.invoke({"messages": [("user", "Write to Ada")]}, thread)
    print("waiting:", [one.asked for one in waiting(captured.traces())])
    graph.invoke(Command(resume="yes, send"), thread)
    print("waiting:", [one.asked for one in waiting(captured.traces())])

for trace in captured.traces():
    print(trace.session_id, trace.status.value)
    for depth, one in trace.walk():
        print("  " * (depth + 1) + f"{one.type.name} {one.name} {one.status.value}")

# prints:
# waiting: ['Send it?']
# waiting: []
# mail-7 interrupted
#   CHAIN LangGraph interrupted
#     CHAIN draft success
#     CHAIN review interrupted
#       EVENT interrupt success
# mail-7 success
#   CHAIN LangGraph success
#     EVENT resume success
#     CHAIN review success
