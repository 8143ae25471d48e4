"""
Responses of HTTP libraries: their status, and the body that was received.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from encoding_aids import record

from fluxloop.encoding.http_responses import MAX_PARSED_BYTES


def answered(**content: Any) -> httpx.Response:
    """A response to a request, with this content."""
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, **content))) as client:
        return client.get("http://localhost/", headers={"authorization": "Bearer key-of-the-user"})


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ({"json": {"city": "Lyon", "n": [1, 2]}}, {"city": "Lyon", "n": [1, 2]}),
        ({"json": []}, []),
        ({"text": "plain"}, "plain"),
        ({"text": "{torn"}, "{torn"),
        ({"text": ""}, ""),
        ({"content": b"\xff\xfe"}, record(b"\xff\xfe")),
    ],
)
def test_a_response_is_its_status_and_its_body(content, body):
    """
    JSON is recorded as data, text as text; headers, which have credentials, are not recorded.
    """
    found = record(answered(**content))

    assert found == {"__class__": "httpx.Response", "status_code": 200, "body": body}


def test_a_response_is_not_read_for_recording():
    """
    One that the program has not received, or never will, has no body, and can be read afterwards.
    """
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(b"later")))
    with (
        httpx.Client(transport=transport) as client,
        client.stream("GET", "http://localhost/") as response,
    ):
        assert record(response) == {"__class__": "httpx.Response", "status_code": 200}
        assert response.read() == b"later"
        assert record(response)["body"] == "later"


def test_a_large_body_is_text():
    """
    It is not parsed while the program waits.
    """
    found = record(answered(text="[" + "1," * MAX_PARSED_BYTES + "1]"))

    assert isinstance(found["body"], str)
