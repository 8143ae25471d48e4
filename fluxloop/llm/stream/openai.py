"""
Parse OpenAI's streams: chat completions, also of compatible providers, Responses, and events of the two SDKs.
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
    text = answer.add_text(None)
    if response_id is None or response_id != answer.response_id:
        if choices:
            answer.begin_response(response_id)
        answer.set_model(item, model=get(held, "model"))
    for choice in map(fields, choices):
        index, whole = get(choice, "index") or 0, get(choice, "message")
        if index == 0 and not (repeats and whole is not None):
            text += _chat_delta(answer, choice, fields(get(choice, "delta") if whole is None else whole))
        answer.set_finish_reason(get(choice, "finish_reason"), index)
    answer.update_usage(get(held, "usage") or get(fields(get(held, "x_groq")), "usage"))
    return text


def _chat_delta(answer: Answer, choice: Fields, delta: Fields) -> str:
    if thought := get(delta, "reasoning_content") or get(delta, "reasoning"):  # DeepSeek; OpenRouter
        answer.add_reasoning(thought)
    if refusal := get(delta, "refusal"):
        answer.add_refusal(refusal)
    for call in listed(get(delta, "tool_calls")):
        function_call(answer, get(fields(call), "index"), call)
    text = get(delta, "content")
    return content(answer, get(choice, "text") if text is None else text)


def _response_begun(answer: Answer, held: Fields, item: object) -> str:
    response = get(held, "response")
    inside = fields(response)
    answer.begin_response(get(inside, "id"), new=get(held, "type") == "response.created")
    answer.set_model(response, model=get(inside, "model"))
    return answer.add_text(None)


def _response_ended(answer: Answer, held: Fields, item: object) -> str:
    """The event contains the complete response, whose facts replace the earlier ones."""
    if facts := read_facts(get(held, "response")):
        answer.set_facts(facts)
    return answer.add_text(None)


def _response(answer: Answer, held: Fields, item: object) -> str | None:
    """A complete Response, alone or after its chunks."""
    if get(held, "object") != "response" or not (facts := read_facts(item)):
        return None
    repeats = answer.repeats(facts.response_id)
    answer.set_facts(facts)
    text = answer.add_text(None)
    for output in [] if repeats else map(fields, listed(get(held, "output"))):
        if get(output, "type") == "function_call":
            arguments = get(output, "arguments")
            answer.add_call(None, call_id=get(output, "call_id"), name=get(output, "name"), arguments=arguments)
        for thought in map(fields, listed(get(output, "summary"))):
            answer.add_reasoning(get(thought, "text"))
        text += blocks(answer, get(output, "content"))
    return text


def _output_item(answer: Answer, held: Fields, item: object) -> str:
    """A function call, at its start or complete."""
    output = fields(get(held, "item"))
    if get(output, "type") == "function_call":
        put = answer.complete_call if get(held, "type") == "response.output_item.done" else answer.add_call
        arguments = get(output, "arguments")
        put(get(held, "output_index"), call_id=get(output, "call_id"), name=get(output, "name"), arguments=arguments)
    return answer.add_text(None)


def _arguments_delta(answer: Answer, held: Fields, item: object) -> str:
    return answer.add_call(get(held, "output_index"), arguments=get(held, "delta"))


def _text_delta(answer: Answer, held: Fields, item: object) -> str:
    return answer.add_text(get(held, "delta"))


def _refusal_delta(answer: Answer, held: Fields, item: object) -> str:
    return answer.add_refusal(get(held, "delta"))


def _reasoning_delta(answer: Answer, held: Fields, item: object) -> str:
    return answer.add_reasoning(get(held, "delta"))


def _sdk_text_delta(answer: Answer, held: Fields, item: object) -> str | None:
    """``chat.completions.stream()`` yields each text twice: in the raw chunk, and in this event."""
    delta = get(held, "delta")
    return answer.add_text(None if answer.has_pieces else delta) if isinstance(delta, str) else None


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
