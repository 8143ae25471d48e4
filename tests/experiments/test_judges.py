"""
Judges against a server on this machine: concurrency, retries, the cache, limits, and answers without a score.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from experiments.evaluation_aids import experiment, lines_of, run_of

from fluxloop import experiments
from fluxloop.experiments.evaluation import judge_requests
from fluxloop.experiments.evaluation.judge_answers import PARSERS
from fluxloop.experiments.evaluation.judges import Judge

ANSWER = "7\nReason: polite"


@contextmanager
def server(*responses):
    """
    Serve chat completions: each response is a text, or a status with headers; the last one repeats.

    Yields the base URL and the list of the requests' bodies.
    """
    requests, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                response = responses[min(len(requests), len(responses) - 1)]
                requests.append({**body, "path": self.path, "key": self.headers["authorization"]})
            status, headers = response if isinstance(response, tuple) else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            content = b"busy"
            if status == 200:
                content = json.dumps({"choices": [{"message": {"content": response}}]}).encode()
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1", requests
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short delays between attempts, and no keys of the environment."""
    monkeypatch.setattr(judge_requests, "FIRST_DELAY_S", 0.001)
    for name in ("FLUXLOOP_LLM_API_KEY", "OPENAI_API_KEY", "FLUXLOOP_LLM_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def demo(tmp_path):
    return experiment(tmp_path / "demo", ["Rome", "Oslo", "Bern"])


def config(url, **judge):
    limits = judge.pop("limits", {})
    evaluator = {"name": "quality", "type": "llm_judge", "model": "m", "base_url": url, **judge}
    return {"evaluators": [evaluator], "limits": limits}


def test_a_judge_scores_every_run(demo):
    """
    The prompt is filled, the parameters and the key are sent, the score is scaled and the reason kept.
    """
    with server(ANSWER) as (url, requests):
        judge = config(url, prompt_template="Rate {output} for {input}, {unknown}", model_parameters={"temperature": 0})
        found = experiments.evaluate(demo, config=judge, api_key="secret-key")

    assert {request["path"] for request in requests} == {"/v1/chat/completions"}
    assert {request["key"] for request in requests} == {"Bearer secret-key"}
    assert {request["temperature"] for request in requests} == {0}
    assert sorted(request["messages"][0]["content"] for request in requests) == [
        f"Rate Booked the Ritz in {city} for {city}, {{unknown}}" for city in ("Bern", "Oslo", "Rome")
    ]
    assert found.average_score == pytest.approx(0.7)
    (first, *_) = lines_of(found.output / "per_trace.jsonl")
    assert first["results"]["quality"] == {"score": 0.7, "value": 7.0, "reason": "polite"}
    assert found.summary["llm_calls"] == 3
    assert not any(b"secret-key" in path.read_bytes() for path in found.output.iterdir())


def test_answers_are_cached_by_prompt_and_model(demo):
    """
    Evaluating again sends nothing; another model or prompt does.
    """
    with server(ANSWER) as (url, requests):
        experiments.evaluate(demo, config=config(url), api_key="k")
        again = experiments.evaluate(demo, config=config(url))  # a cached answer needs no key
        assert (len(requests), again.average_score) == (3, pytest.approx(0.7))

        experiments.evaluate(demo, config=config(url, model="other"), api_key="k")
        assert len(requests) == 6
        experiments.evaluate(demo, config=config(url, limits={"cache": False}), api_key="k")
        assert len(requests) == 9


def test_a_busy_endpoint_is_asked_again_after_the_time_it_gives(demo):
    """
    429 and 5xx are retried; ``Retry-After`` is read as seconds or as a date.
    """
    busy = [(429, {"retry-after": "0"}), (503, {}), (429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})]
    with server(*busy, ANSWER) as (url, requests):
        found = experiments.evaluate(demo, config=config(url, limits={"concurrency": 1}), api_key="k")

    assert len(requests) == 6
    assert found.average_score == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("-1", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("", None)]
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    """
    A date in the past means now; nonsense means the usual delay.
    """
    assert judge_requests.retry_after_of(text) == seconds


@pytest.mark.parametrize(
    ("response", "requests_sent", "error"),
    [
        ((401, {}), 3, "failed: 401 busy"),
        ((429, {"retry-after": "0"}), 15, "failed: 429 busy"),
        ("I cannot say.", 3, "the judge's answer has no score (first_number_1_10): 'I cannot say.'"),
        (" ", 3, "the judge's answer is empty"),
    ],
)
def test_a_judge_that_fails_does_not_lower_the_score(demo, response, requests_sent, error):
    """
    The failure is counted and reported; with ``strict`` it is a failed gate.
    """
    with server(response) as (url, requests):
        found = experiments.evaluate(demo, config=config(url), api_key="k", rules=["success"], strict=True)

    assert len(requests) == requests_sent
    assert found.average_score == 1.0
    assert found.summary["evaluator_stats"]["quality"]["errors"] == 3
    assert found.failed_gates[0].startswith("evaluator quality failed in 3 runs: ")
    assert error in found.failed_gates[0]


def test_an_endpoint_that_quotes_the_key_does_not_publish_it(demo, monkeypatch):
    """
    Gateways answer ``401 invalid key ...``; the key is masked whatever it looks like.
    """
    key = "gateway.key.of.mine"
    monkeypatch.setattr(judge_requests, "shown", lambda body: f"invalid key {key}")
    with server((401, {})) as (url, _):
        found = experiments.evaluate(demo, config=config(url), api_key=key)

    assert "invalid key [redacted]" in found.summary["evaluator_stats"]["quality"]["note"]
    assert [path.name for path in found.output.iterdir() if key in path.read_text(encoding="utf-8")] == []


def test_an_endpoint_that_is_not_there_is_an_error_of_the_judge(demo):
    """
    The connection is tried again, then reported.
    """
    with server(ANSWER) as (url, _):
        pass
    found = experiments.evaluate(demo, config=config(url), api_key="k", rules=["success"])

    assert "ConnectError" in found.summary["evaluator_stats"]["quality"]["note"]


@contextmanager
def hanging_server(pieces):
    """Accept connections, send *pieces* to each, one every 20 ms, and never end. Yields the URL and the connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections, ended = [], threading.Event()

    def serve():
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=send, args=(connection,)).start()

    def send(connection):
        with connection, suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
                if ended.wait(0.02):
                    return
            ended.wait()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", connections
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"


@pytest.mark.parametrize("pieces", [(), (HEAD, *[b" "] * 10_000)], ids=["no answer", "a byte at a time"])
def test_a_judge_that_hangs_delays_a_few_runs_only(tmp_path, pieces):
    """
    The timeout is that of the whole answer. After some failures in a row the other runs are not sent.
    """
    runs = experiment(tmp_path / "demo", [f"city {number}" for number in range(100)])
    with hanging_server(pieces) as (url, connections):
        given = config(url, limits={"timeout_seconds": 0.1, "concurrency": 2})
        found = experiments.evaluate(runs, config=given, api_key="k", rules=["success"])

    assert len(connections) <= 2 * (judge_requests.MOST_FAILURES + 1)  # each request twice, and the other in flight
    quality = found.summary["evaluator_stats"]["quality"]
    assert quality["errors"] == 100
    text = (found.output / "per_trace.jsonl").read_text()
    assert text.count("failed: no answer within 0.1 s") == 100
    assert text.count("not asked, as 5 requests in a row failed") >= 100 - len(connections)
    assert found.average_score == 1.0


def test_an_endless_answer_is_not_kept_in_memory(demo, monkeypatch):
    """
    An answer that is too long is a failure of the judge.
    """
    monkeypatch.setattr(judge_requests, "MAX_ANSWER_BYTES", 1_000)
    with server("x" * 5_000) as (url, _):
        found = experiments.evaluate(demo, config=config(url), api_key="k", rules=["success"])

    assert "its answer is longer than 1,000 bytes" in found.summary["evaluator_stats"]["quality"]["note"]


@pytest.mark.parametrize(
    ("url", "key"),
    [("http://[::1", "k"), ("nowhere", "k"), ("http://127.0.0.1:9", "k\nX: secret"), ("http://127.0.0.1:9", "kљ")],
)
def test_an_address_or_key_that_cannot_be_sent_is_an_error_of_the_judge(demo, url, key):
    """
    The message does not show the key.
    """
    found = experiments.evaluate(demo, config=config(url), api_key=key, rules=["success"])

    quality = found.summary["evaluator_stats"]["quality"]
    assert quality["errors"] == 3
    assert key == "k" or key[1:] not in quality["note"]


def test_the_number_of_requests_is_limited(demo):
    """
    Further runs are skipped, and the reason is reported.
    """
    with server(ANSWER) as (url, requests):
        found = experiments.evaluate(demo, config=config(url), api_key="k", max_llm_calls=2)

    assert len(requests) == 2
    assert found.summary["evaluator_stats"]["quality"]["skipped"] == 1
    assert found.summary["evaluator_stats"]["quality"]["note"] == "limits.max_llm_calls is reached"


def test_a_sample_is_always_the_same_runs(tmp_path):
    """
    The share is about the rate, and does not depend on the order of the runs.
    """
    folder = experiment(tmp_path / "demo", [f"city {number}" for number in range(40)])
    with server(ANSWER) as (url, requests):
        experiments.evaluate(folder, config=config(url, limits={"sample_rate": 0.5}), api_key="k")
        first = len(requests)
        experiments.evaluate(folder, config=config(url), api_key="k", sample_rate=0.5)

    assert 10 <= first <= 30
    assert len(requests) == first


@pytest.mark.parametrize(
    ("parser", "text", "score"),
    [
        ("first_number_1_10", "Score: 8/10. Reason: fine", 0.8),
        ("first_number_1_10", "In 2024 I would give 6.5", 0.65),
        ("first_number_1_10", "v2.0 gpt-4 none", None),
        ("json", 'Sure:\n```json\n{"score": 4, "reason": "r"}\n```', 0.4),
        ("json", '{"score": true}', 1.0),
        ("json", '{"score": 40}', None),
        ("json", "no", None),
        ("pass_fail", "Verdict: PARTIAL", 0.5),
        ("pass_fail", "FAIL, it does not pass", 0.0),
        ("pass_fail", "maybe", None),
    ],
)
def test_answers_are_read_by_their_parser(parser, text, score):
    """
    A number of another kind, such as a year or a version, is not a score.
    """
    answer = PARSERS[parser](text, 10)

    assert (answer and answer.score) == (None if score is None else pytest.approx(score))


def test_values_with_braces_are_not_filled_again():
    """
    An output that looks like a placeholder cannot pull other values into the prompt.
    """
    judge = Judge("j", "m", prompt='{output} and {"score": 1}')

    assert judge.filled(run_of(output="{metadata}", metadata={"secret": 1})) == '{metadata} and {"score": 1}'
