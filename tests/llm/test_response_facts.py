"""
Facts about a model call in the results of every provider and framework.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from fluxloop.llm import response_facts
from fluxloop.llm.response_facts import ModelFacts, read_facts
from fluxloop.llm.token_counts import read_usage


def counts(input=None, output=None, total=None, read=None, write=None, reasoning=None) -> dict[str, int]:
    """Our usage dict of those counts that are given."""
    names = ("input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens")
    given = dict(zip((*names, "reasoning_tokens"), (input, output, total, read, write, reasoning), strict=True))
    return {name: number for name, number in given.items() if number is not None}


def as_object(value: Any) -> Any:
    """The same names as attributes, all the way down."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(inner) for name, inner in value.items()})
    return [as_object(inner) for inner in value] if isinstance(value, list) else value


OPENAI = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 7},
    "completion_tokens_details": {"reasoning_tokens": 30},
}
RESPONSES = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 0},
    "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 30},
    "total_tokens": 140,
}
EMBEDDED = {"prompt_tokens": 8, "total_tokens": 8}
ANTHROPIC = {
    "input_tokens": 3,
    "cache_read_input_tokens": 80,
    "cache_creation_input_tokens": 17,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 30},
}
GEMINI = {
    "prompt_token_count": 100,
    "cached_content_token_count": 80,
    "candidates_token_count": 10,
    "thoughts_token_count": 30,
    "total_token_count": 140,
}
GEMINI_JSON = {"promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 30, "totalTokenCount": 140}
LANGCHAIN_USAGE = {
    "input_tokens": 100,
    "output_tokens": 40,
    "total_tokens": 140,
    "input_token_details": {"cache_read": 80, "cache_creation": 17},
    "output_token_details": {"reasoning": 30},
}
CONVERSE = {
    "inputTokens": 3,
    "outputTokens": 40,
    "totalTokens": 43,
    "cacheReadInputTokens": 80,
    "cacheWriteInputTokens": 17,
}
COHERE_USAGE = {
    "billed_units": {"input_tokens": 90.0, "output_tokens": 40.0},
    "tokens": {"input_tokens": 100.0, "output_tokens": 40.0},
}
PLAIN = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
DEEPSEEK = {
    "prompt_tokens": 100,
    "prompt_cache_hit_tokens": 80,
    "prompt_cache_miss_tokens": 20,
    "completion_tokens": 40,
    "total_tokens": 140,
}
OLLAMA_USAGE = {"prompt_eval_count": 100, "eval_count": 40}

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}},
        {"index": 1, "finish_reason": "length", "message": {"role": "assistant", "content": "Hello"}},
    ],
    "usage": OPENAI,
}
COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "gpt-3.5-turbo-instruct",
    "choices": [{"index": 0, "finish_reason": "stop", "text": "Hi", "logprobs": None}],
    "usage": PLAIN,
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-5",
    "status": "completed",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": RESPONSES,
}
EMBEDDINGS = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
    "usage": EMBEDDED,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": ANTHROPIC,
}
GOOGLE = {
    "response_id": "g-1",
    "model_version": "gemini-2.5-flash",
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finish_reason": "STOP"}],
    "usage_metadata": GEMINI,
}
GOOGLE_JSON = {
    "responseId": "g-1",
    "modelVersion": "gemini-2.5-flash",
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": GEMINI_JSON,
}
LANGCHAIN = {
    "type": "ai",
    "id": "lc_run--7",
    "content": "Hi",
    "usage_metadata": LANGCHAIN_USAGE,
    "response_metadata": {
        "model_provider": "openai",
        "model_name": "gpt-4o",
        "finish_reason": "stop",
        "id": "chatcmpl-1",
        "token_usage": OPENAI,
    },
}
BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
    "stopReason": "end_turn",
    "usage": CONVERSE,
}
OLLAMA = {
    "model": "llama3.2",
    "message": {"role": "assistant", "content": "Hi"},
    "done": True,
    "done_reason": "stop",
    **OLLAMA_USAGE,
}
COHERE = {"id": "c-1", "finish_reason": "COMPLETE", "usage": COHERE_USAGE}
COHERE_1 = {"response_id": "c-1", "finish_reason": "COMPLETE", "meta": COHERE_USAGE}

FULL = counts(100, 40, 140, 80, None, 30)
RESULTS = {
    "chat completion": (
        CHAT,
        ModelFacts({**FULL, "cache_write_tokens": 7}, CHAT["model"], None, ["stop", "length"], "chatcmpl-1"),
    ),
    "completion": (COMPLETION, ModelFacts(counts(100, 40, 140), COMPLETION["model"], None, ["stop"], "cmpl-1")),
    "response": (RESPONSE, ModelFacts({**FULL, "cache_write_tokens": 0}, "gpt-5", None, ["completed"], "resp_1")),
    "embeddings": (EMBEDDINGS, ModelFacts(counts(8, None, 8), "text-embedding-3-small")),
    "anthropic": (
        MESSAGE,
        ModelFacts({**FULL, "cache_write_tokens": 17}, "claude-sonnet-4-5", None, ["end_turn"], "msg_1"),
    ),
    "google": (GOOGLE, ModelFacts(FULL, "gemini-2.5-flash", None, ["STOP"], "g-1")),
    "google as json": (
        GOOGLE_JSON,
        ModelFacts(counts(100, 40, 140, reasoning=30), "gemini-2.5-flash", None, ["STOP"], "g-1"),
    ),
    "langchain": (
        LANGCHAIN,
        ModelFacts({**FULL, "cache_write_tokens": 17}, "gpt-4o", "openai", ["stop"], "chatcmpl-1"),
    ),
    "bedrock": (BEDROCK, ModelFacts(counts(100, 40, 140, 80, 17), None, None, ["end_turn"])),
    "ollama": (OLLAMA, ModelFacts(counts(100, 40, 140), "llama3.2", None, ["stop"])),
    "cohere": (COHERE, ModelFacts(counts(100, 40, 140), None, None, ["COMPLETE"], "c-1")),
    "cohere, version 1": (COHERE_1, ModelFacts(counts(100, 40, 140), None, None, ["COMPLETE"], "c-1")),
}


@pytest.mark.parametrize(("result", "expected"), RESULTS.values(), ids=RESULTS)
def test_counts_model_reason_and_id_are_read_from_a_result(result, expected):
    """
    Every provider's result is read, as a dict and as an object with the same names.
    """
    assert read_facts(result) == expected
    assert read_facts(as_object(result)) == expected


def real(result: str) -> Any:
    """*result* as the provider's own class; skips where its package is not installed."""
    match result:
        case "chat completion":
            return pytest.importorskip("openai.types.chat").ChatCompletion.model_validate(CHAT)
        case "completion":
            return pytest.importorskip("openai.types").Completion.model_validate(COMPLETION)
        case "response":
            return pytest.importorskip("openai.types.responses").Response.model_validate(RESPONSE)
        case "embeddings":
            return pytest.importorskip("openai.types").CreateEmbeddingResponse.model_validate(EMBEDDINGS)
        case "anthropic":
            return pytest.importorskip("anthropic.types").Message.model_validate(MESSAGE)
        case "google":
            return pytest.importorskip("google.genai.types").GenerateContentResponse.model_validate(GOOGLE)
        case "langchain":
            messages = pytest.importorskip("langchain_core.messages")
            return messages.AIMessage(**{name: value for name, value in LANGCHAIN.items() if name != "type"})
    raise AssertionError(result)


@pytest.mark.parametrize(
    ("result", "provider"),
    [
        ("chat completion", "openai"),
        ("completion", "openai"),
        ("response", "openai"),
        ("embeddings", "openai"),
        ("anthropic", "anthropic"),
        ("google", "gcp.gen_ai"),
        ("langchain", "openai"),
    ],
)
def test_an_object_of_an_sdk_is_read_like_its_dict_and_names_the_provider(result, provider):
    """
    The SDKs' classes are read like their dicts; their package gives the provider.
    """
    found = read_facts(real(result))
    expected = RESULTS[result][1]

    assert found == ModelFacts(expected.usage, expected.model, provider, expected.finish_reasons, expected.response_id)


def test_fields_the_sdk_does_not_know_are_read():
    """
    DeepSeek's cache counts arrive in OpenAI's class as extra fields of its model.
    """
    completions = pytest.importorskip("openai.types")
    usage = completions.CompletionUsage.model_validate(DEEPSEEK)

    assert read_usage(usage) == counts(100, 40, 140, 80)


def test_the_agents_sdk_s_usage_and_responses_are_read():
    """
    `Usage` and `ModelResponse` of the OpenAI Agents SDK, and `Usage` serialised, give the same counts.
    """
    agents = pytest.importorskip("agents")
    serialised = getattr(agents.usage, "serialize_usage", lambda usage: usage)  # the oldest have none
    details = pytest.importorskip("openai.types.responses.response_usage")
    usage = agents.Usage(
        requests=1,
        input_tokens=100,
        output_tokens=40,
        total_tokens=140,
        input_tokens_details=details.InputTokensDetails(cached_tokens=80, cache_write_tokens=0),
        output_tokens_details=details.OutputTokensDetails(reasoning_tokens=30),
    )
    response = agents.ModelResponse(output=[], usage=usage, response_id="resp_1")
    expected = counts(100, 40, 140, 80, 0, 30)

    assert read_usage(usage) == expected
    assert read_usage(serialised(usage)) == expected
    assert read_facts(response) == ModelFacts(usage=expected, response_id="resp_1")


def test_langchain_s_anthropic_counts_equal_anthropic_s():
    """
    langchain-anthropic includes the cached tokens itself; they are not added again.
    """
    create = pytest.importorskip("langchain_anthropic.chat_models")._create_usage_metadata
    anthropic = pytest.importorskip("anthropic.types")
    usage = anthropic.Usage.model_validate(
        {
            **ANTHROPIC,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 7},
        }
    )

    created = create(usage)
    created.setdefault("output_token_details", {"reasoning": 30})  # the oldest leave them out

    assert read_usage(created) == read_usage(usage) == counts(100, 40, 140, 80, 17, 30)


def test_the_message_in_a_langchain_result_is_read():
    """
    `LLMResult`, `ChatResult`, `ChatGeneration` and the dict of include_raw have the facts of their message.
    """
    outputs = pytest.importorskip("langchain_core.outputs")
    generation = outputs.ChatGeneration(message=real("langchain"))
    llm_output = {"token_usage": {"prompt_tokens": 1, "completion_tokens": 1}, "model_name": "other"}
    expected = RESULTS["langchain"][1]

    assert read_facts(generation) == expected
    assert read_facts(outputs.ChatResult(generations=[generation], llm_output=llm_output)) == expected
    assert read_facts(outputs.LLMResult(generations=[[generation]], llm_output=llm_output)) == expected
    assert read_facts({"raw": real("langchain"), "parsed": {"a": 1}, "parsing_error": None}) == expected


def test_candidates_of_one_prompt_are_one_call_and_prompts_are_several():
    """
    LangChain sets the counts of a call on each of its candidates; they count once per prompt.
    """
    outputs = pytest.importorskip("langchain_core.outputs")
    generation = outputs.ChatGeneration(message=real("langchain"))
    two_candidates = outputs.LLMResult(generations=[[generation, generation]])
    two_prompts = outputs.LLMResult(generations=[[generation], [generation]])

    assert read_facts(two_candidates).usage["total_tokens"] == 140
    assert read_facts(two_prompts).usage["total_tokens"] == 280


def test_a_completion_model_s_result_is_read_from_its_llm_output():
    """
    `LLMResult` of a text model has its counts and model in ``llm_output``, its reason with the text.
    """
    outputs = pytest.importorskip("langchain_core.outputs")
    result = outputs.LLMResult(
        generations=[[outputs.Generation(text="Hi", generation_info={"finish_reason": "stop"})]],
        llm_output={"token_usage": PLAIN, "model_name": "gpt-3.5-turbo-instruct"},
    )

    assert read_facts(result) == ModelFacts(counts(100, 40, 140), "gpt-3.5-turbo-instruct", None, ["stop"])


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"token_usage": OPENAI}, counts(100, 40, 140, 80, 7, 30)),
        ({"usage": ANTHROPIC}, counts(100, 40, 140, 80, 17, 30)),
        (OLLAMA_USAGE, counts(100, 40, 140)),
    ],
    ids=["token_usage", "usage", "at the top"],
)
def test_response_metadata_is_read_if_a_langchain_message_has_no_usage_metadata(metadata, expected):
    """
    Older integrations only keep the provider's own dict.
    """
    message = pytest.importorskip("langchain_core.messages").AIMessage(content="Hi", response_metadata=metadata)

    assert read_facts(message).usage == expected


def test_the_facts_of_a_history_are_those_of_its_last_answer():
    """
    Earlier answers of a conversation were counted when they were given.
    """
    earlier = {"type": "ai", "content": "", "usage_metadata": {"input_tokens": 900, "output_tokens": 90}}
    history = [{"type": "human", "content": "?"}, earlier, {"type": "human", "content": "?"}, LANGCHAIN]

    assert read_facts(history) == RESULTS["langchain"][1]
    assert read_facts([*history, {"type": "tool", "content": "42"}]) == RESULTS["langchain"][1]


def test_a_batch_of_results_is_added_up():
    """
    A list in which every item is a result, as from `batch`, is several calls.
    """
    assert read_facts([CHAT] * 20).usage["total_tokens"] == 20 * 140


def test_a_very_long_batch_has_no_usage(monkeypatch):
    """
    A batch of more than a thousand results is not added up, as that would take long and a part would be wrong.
    """
    reads = []
    read = response_facts._facts
    monkeypatch.setattr(response_facts, "_facts", lambda value, depth: reads.append(1) or read(value, depth))

    facts = read_facts([CHAT] * 1_001)

    assert (facts.usage, facts.model) == (None, read_facts(CHAT).model)
    assert len(reads) < 100


def test_a_tuple_is_parts_of_one_result():
    """
    ``(message, usage)`` counts once, also if both have the counts.
    """
    usage = OPENAI

    assert read_facts(("Hi", usage)).usage == counts(100, 40, 140, 80, 7, 30)
    assert read_facts((CHAT, usage)) == RESULTS["chat completion"][1]


def test_the_response_in_instructor_s_and_llama_index_s_results_is_read():
    """
    They contain the provider's response, as ``_raw_response`` and ``raw``.
    """

    class Answer(BaseModel):
        text: str

    answer = Answer(text="Hi")
    object.__setattr__(answer, "_raw_response", CHAT)

    assert read_facts(answer) == RESULTS["chat completion"][1]
    assert read_facts(SimpleNamespace(message=SimpleNamespace(content="Hi"), raw=CHAT)) == RESULTS["chat completion"][1]


def test_an_incomplete_response_has_a_finish_reason():
    """
    OpenAI's Responses API has no finish reason: the reason of incompleteness, or the final state, is used.
    """
    cut = {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}

    assert read_facts(cut).finish_reasons == ["max_output_tokens"]
    assert read_facts({**RESPONSE, "status": "in_progress"}).finish_reasons is None


@pytest.mark.parametrize("made_up", ["run-7", "lc_run--7", "__fake_id__"])
def test_ids_generated_by_a_framework_are_ignored(made_up):
    """
    Placeholders of LangChain and the Agents SDK are not ids of a response.
    """
    assert read_facts({"id": made_up, "model": "m", "usage": PLAIN}).response_id is None
