"""
The clients of Google Gen AI: each model call is one observation, and the client works as before.
"""

from __future__ import annotations

import pytest
from google.genai import errors, types

import fluxloop
from fluxloop import Status

from .conftest import SECRET
from .provider import Reply, content
from .test_openai import City, only, outcomes

MODEL = "gemini-2.5-flash"


def test_content_is_a_generation_with_everything_it_reports(provider, clients, captured):
    """
    System instruction and contents are messages; model, provider, parameters, usage and finish reason are recorded.
    """
    provider.answers(Reply(content()))
    config = {"temperature": 0.5, "system_instruction": "Be brief.", "http_options": {"headers": {"X-Mine": SECRET}}}

    answer = clients.google().models.generate_content(model=MODEL, contents="Capital?", config=config)

    assert answer.text == "Paris"
    seen = only(captured)
    assert (seen.type.name, seen.name, seen.output) == ("GENERATION", "google_genai.generate_content", "Paris")
    assert seen.input == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital?"}]
    assert (seen.model, seen.provider, seen.model_parameters) == (MODEL, "gcp.gen_ai", {"temperature": 0.5})
    assert (seen.usage.input_tokens, seen.usage.output_tokens, seen.finish_reasons) == (12, 3, ["STOP"])
    assert SECRET not in repr(captured.storage.read())


def test_parts_other_than_text_are_recorded_as_they_are(provider, clients, captured):
    """
    A question with a picture, and an answer with one.
    """
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    provider.answers(Reply(content({"text": "Here:"}, picture)))
    asked = [types.Part.from_text(text="Draw it"), types.Part.from_bytes(data=b"\0", mime_type="image/png")]

    clients.google().models.generate_content(model=MODEL, contents=asked)

    seen = only(captured)
    assert seen.input[0]["content"][0] == {"text": "Draw it"}
    assert seen.output[0]["content"]["parts"][1] == picture


def test_a_stream_ends_with_its_last_chunk(provider, clients, captured):
    """
    The chunks are recorded without the HTTP headers around them.
    """
    provider.answers(Reply(events=[content({"text": "Pa"}, finish=None), content({"text": "ris"})]))

    texts = [chunk.text for chunk in clients.google().models.generate_content_stream(model=MODEL, contents="Capital?")]

    assert texts == ["Pa", "ris"]
    seen = only(captured)
    assert (seen.status, seen.output, seen.usage.total_tokens) == (Status.SUCCESS, "Paris", 15)
    assert seen.time_to_first_token_ms is not None
    assert [set(item) for item in seen.metadata["stream"]["items"]] == [set(content())] * 2


def test_a_stream_that_is_not_read_to_its_end_is_abandoned(provider, clients, captured):
    """
    Closing the generator ends the observation with the text so far.
    """
    provider.answers(Reply(events=[content({"text": "Pa"}, finish=None), content({"text": "ris"})]))

    stream = clients.google().models.generate_content_stream(model=MODEL, contents="Capital?")
    next(stream)
    stream.close()

    assert outcomes(captured) == [("abandoned", "Pa")]


def test_a_structured_answer_is_parsed_and_recorded(provider, clients, captured):
    """
    The user gets the object, the record has the text and the schema.
    """
    provider.answers(Reply(content({"text": '{"name": "Paris"}'})))
    config = {"response_mime_type": "application/json", "response_schema": City}

    answer = clients.google().models.generate_content(model=MODEL, contents="Capital?", config=config)

    assert answer.parsed == City(name="Paris")
    assert only(captured).output == '{"name": "Paris"}'
    assert "name" in str(only(captured).model_parameters["responseSchema"])


def test_each_request_of_automatic_function_calling_is_a_generation(provider, clients, captured):
    """
    The function that the SDK calls in between is a tool, if it is decorated.
    """
    call = {"functionCall": {"name": "weather", "args": {"city": "Rome"}}}
    provider.answers(Reply(content(call)), Reply(content({"text": "Sunny."})))

    def weather(city):
        """Return the weather of a city."""
        return f"sunny in {city}"

    weather.__annotations__ = {"city": str, "return": str}  # the SDK does not evaluate annotations that are texts
    weather = fluxloop.tool(weather)

    @fluxloop.agent
    def ask() -> str | None:
        return clients.google().models.generate_content(model=MODEL, contents="?", config={"tools": [weather]}).text

    assert ask() == "Sunny."
    agent, first, tool, second = captured.traces()[0].observations
    assert [each.type.name for each in (agent, first, tool, second)] == ["AGENT", "GENERATION", "TOOL", "GENERATION"]
    assert first.metadata["tools"] == ["weather"]
    assert first.output["tool_calls"][0]["arguments"] == {"city": "Rome"}
    assert (tool.output, second.output) == ("sunny in Rome", "Sunny.")


def test_a_chat_is_recorded_by_its_requests(provider, clients, captured):
    """
    The second question has the first answer in its messages.
    """
    provider.answers(Reply(content()))
    chat = clients.google().chats.create(model=MODEL)

    chat.send_message("Capital?")
    chat.send_message("Sure?")

    second = captured.traces()[1].observations[0]
    assert [each["content"] for each in second.input] == ["Capital?", "Paris", "Sure?"]


def test_embeddings_are_an_embedding(provider, clients, captured):
    """
    The texts are the input, the vectors the output.
    """
    provider.answers(Reply({"embeddings": [{"values": [0.5, 0.25]}, {"values": [1.0, 0.0]}]}))

    clients.google().models.embed_content(model="gemini-embedding-001", contents=["a", "b"])

    seen = only(captured)
    assert (seen.type.name, seen.model) == ("EMBEDDING", "gemini-embedding-001")
    assert (seen.input, seen.output) == (["a", "b"], [[0.5, 0.25], [1.0, 0.0]])


async def test_the_async_client_is_recorded_too(provider, clients, captured):
    """
    Content, streams and embeddings of ``client.aio``.
    """
    models = clients.google().aio.models
    provider.answers(Reply(content()))
    await models.generate_content(model=MODEL, contents="Capital?")
    provider.answers(Reply(events=[content({"text": "Pa"}, finish=None), content({"text": "ris"})]))
    async for _ in await models.generate_content_stream(model=MODEL, contents="Capital?"):
        pass
    stream = await models.generate_content_stream(model=MODEL, contents="Capital?")
    await anext(stream)
    await stream.aclose()
    provider.answers(Reply({"embeddings": [{"values": [0.5]}]}))
    await models.embed_content(model="gemini-embedding-001", contents="a")

    assert outcomes(captured)[:2] == [("success", "Paris")] * 2
    assert outcomes(captured)[3] == ("success", [[0.5]])
    assert outcomes(captured)[2] == ("abandoned", "Pa")


def test_an_error_response_has_its_status(provider, clients, captured):
    """
    The SDK's exception is raised unchanged.
    """
    provider.answers(Reply({"error": {"code": 403, "message": "forbidden", "status": "DENIED"}}, status=403))

    with pytest.raises(errors.ClientError):
        clients.google().models.generate_content(model=MODEL, contents="Capital?")

    seen = only(captured)
    assert (seen.status, seen.metadata["status_code"], seen.model) == (Status.ERROR, 403, MODEL)
