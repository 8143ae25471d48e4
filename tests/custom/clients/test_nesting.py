"""
One model call is one GENERATION: frameworks and functions that record the call already, and instrumented clients.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import fluxloop
import fluxloop_custom
from fluxloop.testing import capture, outline
from fluxloop_custom.installing import ADAPTERS

from .provider import QUESTION, Reply, chunks, completion, message, message_events, response, response_events
from .test_openai import outcomes

ASK: dict[str, Any] = {"model": "gpt-5", "messages": QUESTION}


def generations(captured: Any) -> list[str]:
    """Return the names of the generations recorded."""
    seen = [each for trace in captured.traces() for each in trace.observations]
    return [each.name for each in seen if each.type.name == "GENERATION"]


def test_a_function_with_prompt_gets_what_its_call_reports(provider, clients, captured):
    """
    There is no second generation; the function's has usage, model, parameters and finish reason, and its own output.
    """
    provider.answers(Reply(completion()))

    @fluxloop.prompt
    def ask(question: str) -> str:
        return clients.openai().chat.completions.create(**ASK, temperature=0.5).choices[0].message.content

    with fluxloop.instrument("run"):
        assert ask("Capital?") == "Paris"

    _, prompt = captured.traces()[0].observations
    assert (prompt.name, prompt.input, prompt.output) == ("ask", {"question": "Capital?"}, "Paris")
    assert (prompt.model, prompt.provider, prompt.usage.total_tokens) == ("gpt-5-2025-08-07", "openai", 15)
    assert (prompt.model_parameters, prompt.finish_reasons) == ({"temperature": 0.5}, ["stop"])
    assert captured.traces()[0].usage.total_tokens == 15


def test_several_requests_of_one_function_are_added_up(provider, clients, captured):
    """
    A function that asks twice has the usage of both; what it says of itself wins.
    """
    provider.answers(Reply(completion()))

    @fluxloop.prompt(model="my-model")
    def ask() -> str:
        client = clients.openai()
        return "".join(client.chat.completions.create(**ASK).choices[0].message.content for _ in range(2))

    with fluxloop.instrument("run"):
        ask()

    prompt = captured.traces()[0].observations[1]
    assert (prompt.usage.total_tokens, prompt.model) == (30, "my-model")


@pytest.mark.parametrize("returns", ["text", "stream"])
def test_a_stream_inside_a_function_with_prompt_is_the_function_s(provider, clients, captured, returns):
    """
    Whether the function reads the stream or returns it.
    """
    provider.answers(Reply(events=chunks("Pa", "ris")))

    @fluxloop.prompt
    def ask() -> Any:
        stream = clients.openai().chat.completions.create(**ASK, stream=True)
        if returns == "stream":
            return stream
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    with fluxloop.instrument("run"):
        answer = ask()
        if returns == "stream":
            assert len(list(answer)) == 5

    prompt = captured.traces()[0].observations[1]
    assert len(captured.traces()[0].observations) == 2
    assert (prompt.output, prompt.usage.total_tokens, prompt.finish_reasons) == ("Paris", 15, ["stop"])
    assert prompt.time_to_first_token_ms is not None


def test_a_stream_that_an_agent_returns_is_recorded_for_both(provider, clients, captured):
    """
    Agent and generation end with the stream.
    """
    provider.answers(Reply(events=chunks("Pa", "ris")))

    @fluxloop.agent
    def chat() -> Any:
        return clients.openai().chat.completions.create(**ASK, stream=True)

    list(chat())

    assert outcomes(captured) == [("success", "Paris")] * 2


def test_a_failed_request_of_a_function_with_prompt_leaves_its_outcome(provider, clients, captured):
    """
    The function's exception is its outcome, as without instrumented clients.
    """
    provider.answers(Reply({"error": {}}, status=400))

    @fluxloop.prompt
    def ask() -> Any:
        return clients.openai().chat.completions.create(**ASK)

    with fluxloop.instrument("run"), pytest.raises(Exception, match="400"):
        ask()

    assert [status for status, _ in outcomes(captured)] == ["success", "error"]


def langchain_model(url: str, **options: Any) -> Any:
    """Return LangChain's model of Anthropic."""
    kind = pytest.importorskip("langchain_anthropic").ChatAnthropic
    return kind(model="claude-next", api_key="-", base_url=url, max_retries=0, **options)


@pytest.fixture
def langchain() -> Any:
    """Record LangChain for a test."""
    found = pytest.importorskip("fluxloop_langchain")
    found.install()
    yield found
    found.uninstall()


@pytest.mark.parametrize("form", ["invoke", "stream", "ainvoke", "astream"])
async def test_langchain_s_model_run_is_the_call(provider, captured, langchain, form):
    """
    `ChatAnthropic` asks by an instrumented client, and its run is the only generation.
    """
    is_stream = form.endswith("stream")
    provider.answers(Reply(events=message_events("Pa", "ris")) if is_stream else Reply(message()))
    model = langchain_model(provider.url)

    if form == "invoke":
        model.invoke("Capital?")
    elif form == "stream":
        list(model.stream("Capital?"))
    elif form == "ainvoke":
        await model.ainvoke("Capital?")
    else:
        assert [chunk async for chunk in model.astream("Capital?")]

    assert generations(captured) == ["ChatAnthropic"]
    assert captured.traces()[0].usage.total_tokens == 15


def test_a_raw_call_beside_langchain_s_is_recorded(provider, clients, captured, langchain):
    """
    Inside a LangChain step, and after a model run, a request of the program's own client has its own generation.
    """
    lambdas = pytest.importorskip("langchain_core.runnables")
    provider.answers(Reply(message()))
    model, client = langchain_model(provider.url), clients.anthropic()

    def step(question: str) -> str:
        model.invoke(question)
        return client.messages.create(model="claude", max_tokens=9, messages=QUESTION).content[0].text

    lambdas.RunnableLambda(step).invoke("Capital?")

    assert generations(captured) == ["ChatAnthropic", "anthropic.messages"]
    [trace] = captured.traces()
    root, first, second = trace.observations
    assert {first.parent_id, second.parent_id} == {root.id}


def test_langchain_s_model_without_its_adapter_is_recorded_by_the_client(provider, captured):
    """
    The client's call is the only one that is known then.
    """
    provider.answers(Reply(message()))

    langchain_model(provider.url).invoke("Capital?")

    assert generations(captured) == ["anthropic.messages"]


@pytest.mark.parametrize("form", ["run", "streamed"])
@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_the_agents_sdk_s_model_call_is_the_call(provider, clients, captured, api, form):
    """
    Its models ask by an instrumented client of OpenAI's, and its span is the only generation.
    """
    agents = pytest.importorskip("agents")
    from fluxloop_custom import openai_agents

    if api == "chat":
        provider.answers(Reply(events=chunks("Pa", "ris")) if form == "streamed" else Reply(completion()))
    else:
        provider.answers(Reply(events=response_events("Pa", "ris")) if form == "streamed" else Reply(response()))
    kind = agents.OpenAIResponsesModel if api == "responses" else agents.OpenAIChatCompletionsModel
    openai_agents.install()
    try:
        async with clients.openai("AsyncOpenAI") as client:
            agent = agents.Agent(name="Desk", model=kind(model="gpt-5", openai_client=client))
            if form == "run":
                result: Any = await agents.Runner.run(agent, "Capital?")
            else:
                result = agents.Runner.run_streamed(agent, "Capital?")
                async for _ in result.stream_events():
                    pass
    finally:
        openai_agents.uninstall()

    assert result.final_output == "Paris"
    assert len(generations(captured)) == 1
    assert captured.traces()[0].usage.total_tokens == 15


def test_install_switches_on_what_is_installed_and_uninstall_undoes_it(provider, clients):
    """
    The names of the adapters are returned; afterwards nothing is recorded any more.
    """
    provider.answers(Reply(completion()))
    client = clients.openai()

    with capture() as captured:
        names = fluxloop.install()
        assert fluxloop.install() == names
        client.chat.completions.create(**ASK)
        fluxloop.uninstall()
        client.chat.completions.create(**ASK)

    assert names == tuple(ADAPTERS)
    assert outcomes(captured) == [("success", "Paris")]
    assert not any(adapter.call(adapter.is_on, *adapter.of) for adapter in ADAPTERS.values())


def test_install_leaves_alone_what_the_program_switched_on(provider, clients):
    """
    `uninstall` switches off what `install` has switched on.
    """
    fluxloop_custom.instrument_openai()
    try:
        assert fluxloop.install("openai", "anthropic") == ("openai", "anthropic")
        fluxloop.uninstall()
        assert ADAPTERS["openai"].call("is_instrumented", "openai")
        assert not ADAPTERS["anthropic"].call("is_instrumented", "anthropic")
    finally:
        fluxloop_custom.uninstrument_openai()


def test_install_takes_names_and_refuses_unknown_ones():
    """
    The message lists the names.
    """
    with pytest.raises(fluxloop.errors.ConfigError, match=r"install\(\) got 'opnai'\. Expected: langchain, openai-ag"):
        fluxloop.install("opnai")


def test_install_does_not_import_a_package_of_the_program_that_has_a_framework_s_name(tmp_path, monkeypatch):
    """
    A folder ``agents`` beside the program is not the Agents SDK.
    """
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/__init__.py").write_text("raise SystemExit('imported')")
    for name in [name for name in sys.modules if name.partition(".")[0] == "agents"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)

    assert not ADAPTERS["openai-agents"].is_available()


@pytest.mark.parametrize(
    ("instrument", "module", "extra"),
    [
        (fluxloop_custom.instrument_openai, "openai", "openai"),
        (fluxloop_custom.instrument_anthropic, "anthropic", "anthropic"),
        (fluxloop_custom.instrument_google_genai, "google.genai", "google-genai"),
    ],
)
def test_a_missing_sdk_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, instrument: Callable[[], None], module: str, extra: str
):
    """
    The error is that of the other adapters.
    """
    monkeypatch.setattr("fluxloop.bridge.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, module, raising=False)

    with pytest.raises(ImportError, match=rf"needs '{module}'.*\n +pip install 'fluxloop\[{extra}\]'"):
        instrument()


def test_without_a_client_of_their_own_nothing_else_changes(provider, clients, captured):
    """
    A generation that is pushed by hand is the call; the request inside it is left out.
    """
    provider.answers(Reply(completion()))

    with fluxloop.instrument("run"), fluxloop.observe("ask", "generation") as seen:
        seen.output = clients.openai().chat.completions.create(**ASK).choices[0].message.content

    assert outline(captured.traces()[0]) == "SPAN run\n  GENERATION ask -> 'Paris'"
