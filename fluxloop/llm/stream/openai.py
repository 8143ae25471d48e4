"""
OpenAI's streams: chat completions and all who speak like them, Responses, the SDK's and Agents SDK's events.
"""

from __future__ import annotations

from ..fields import Fields, fields, get, listed
from ..response_facts import read_facts
from .answers import Answer
from .content import Reader, blocks, content, function_call


def _chat_chunk(answer: Answer, held: Fields, item: object) -> str | None:
    """ChatCompletionChunk, ChatCompletion, Completion; usage comes once, on a last chunk without choices."""
    if type(get(held, "choices")) is not list:
        return None
    choices, response_id = listed(get(held, "choices")), get(held, "id")
    repeats = answer.repeats(response_id)
    said = answer.say(None)
    if response_id is None or response_id != answer.response_id:
        if choices:
            answer.turn_to(response_id)
        answer.learn(item, model=get(held, "model"))
    for choice in map(fields, choices):
        index, whole = get(choice, "index") or 0, get(choice, "message")
        if index == 0 and not (repeats and whole is not None):
            said += _chat_delta(answer, choice, fields(get(choice, "delta") if whole is None else whole))
        answer.stop(get(choice, "finish_reason"), index)
    answer.count(get(held, "usage") or get(fields(get(held, "x_groq")), "usage"))
    return said


def _chat_delta(answer: Answer, choice: Fields, delta: Fields) -> str:
    if thought := get(delta, "reasoning_content") or get(delta, "reasoning"):  # DeepSeek; OpenRouter
        answer.think(thought)
    if refusal := get(delta, "refusal"):
        answer.refuse(refusal)
    for call in listed(get(delta, "tool_calls")):
        function_call(answer, get(fields(call), "index"), call)
    text = get(delta, "content")
    return content(answer, get(choice, "text") if text is None else text)


def _response_begun(answer: Answer, held: Fields, item: object) -> str:
    response = get(held, "response")
    inside = fields(response)
    answer.turn_to(get(inside, "id"), new=get(held, "type") == "response.created")
    answer.learn(response, model=get(inside, "model"))
    return answer.say(None)


def _response_ended(answer: Answer, held: Fields, item: object) -> str:
    """The event carries the whole response: its facts win."""
    if facts := read_facts(get(held, "response")):
        answer.settle(facts)
    return answer.say(None)


def _response(answer: Answer, held: Fields, item: object) -> str | None:
    """A whole Response, alone or after its pieces."""
    if get(held, "object") != "response" or not (facts := read_facts(item)):
        return None
    repeats = answer.repeats(facts.response_id)
    answer.settle(facts)
    said = answer.say(None)
    for output in [] if repeats else map(fields, listed(get(held, "output"))):
        if get(output, "type") == "function_call":
            arguments = get(output, "arguments")
            answer.call(None, call_id=get(output, "call_id"), name=get(output, "name"), arguments=arguments)
        for thought in map(fields, listed(get(output, "summary"))):
            answer.think(get(thought, "text"))
        said += blocks(answer, get(output, "content"))
    return said


def _output_item(answer: Answer, held: Fields, item: object) -> str:
    """A function call begins, or is there in full."""
    output = fields(get(held, "item"))
    if get(output, "type") == "function_call":
        put = answer.end_call if get(held, "type") == "response.output_item.done" else answer.call
        arguments = get(output, "arguments")
        put(get(held, "output_index"), call_id=get(output, "call_id"), name=get(output, "name"), arguments=arguments)
    return answer.say(None)


def _arguments_delta(answer: Answer, held: Fields, item: object) -> str:
    return answer.call(get(held, "output_index"), arguments=get(held, "delta"))


def _text_delta(answer: Answer, held: Fields, item: object) -> str:
    return answer.say(get(held, "delta"))


def _refusal_delta(answer: Answer, held: Fields, item: object) -> str:
    return answer.refuse(get(held, "delta"))


def _reasoning_delta(answer: Answer, held: Fields, item: object) -> str:
    return answer.think(get(held, "delta"))


def _sdk_text_delta(answer: Answer, held: Fields, item: object) -> str | None:
    """``chat.completions.stream()`` tells each piece twice: as the raw chunk, then as this."""
    delta = get(held, "delta")
    return answer.say(None if answer.has_pieces else delta) if isinstance(delta, str) else None


BY_TYPE: dict[str, Reader] = {
    "response.created": _response_begun,
    "response.in_progress": _response_begun,
    "response.completed": _response_ended,
    "response.incomplete": _response_ended,
    "response.failed": _response_ended,
    "response.output_item.added": _output_item,
    "response.output_item.done": _output_item,
    "response.function_call_arguments.delta": _arguments_delta,
    "response.output_text.delta": _text_delta,
    "response.refusal.delta": _refusal_delta,
    "response.reasoning_text.delta": _reasoning_delta,
    "response.reasoning_summary_text.delta": _reasoning_delta,
    "content.delta": _sdk_text_delta,
}

BY_NAME: dict[str, Reader] = {"choices": _chat_chunk, "output": _response}

SILENT = (
    "response.",
    "content.done",
    "refusal.",
    "tool_calls.function.",
    "logprobs.",
    "run_item_stream_event",
    "agent_updated_stream_event",
)
