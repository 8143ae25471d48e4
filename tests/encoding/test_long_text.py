"""
Long texts: prose keeps its beginning, and a file that is encoded in a text keeps its header.
"""

from __future__ import annotations

import base64
import random
from typing import Any

import pytest
from encoding_aids import Counts, record

from fluxloop.encoding.long_text import byte_length, first_bytes, valid_utf8

ZEROS = "A" * 400_000
"""Base64 of zeros, as a blank image has them."""
PHOTO = base64.b64encode(random.Random(1).randbytes(300_000)).decode()
"""Base64 of a compressed file."""
DATA_URL = "data:image/png;base64,"


def image(payload: str) -> Any:
    """Return each form in which a message to a model contains a file, by the provider that uses it."""
    return {
        "openai chat": {"type": "image_url", "image_url": {"url": DATA_URL + payload}},
        "openai audio": {"type": "input_audio", "input_audio": {"data": payload, "format": "wav"}},
        "openai file": {"type": "file", "file": {"filename": "a.pdf", "file_data": payload}},
        "openai image": {"data": [{"b64_json": payload}], "output_format": "png"},
        "openai image call": {"type": "image_generation_call", "result": payload, "output_format": "png"},
        "agents sdk": {"type": "input_image", "image_url": DATA_URL + payload, "detail": "auto"},
        "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": payload}},
        "google": {"inline_data": {"mime_type": "image/png", "data": payload}},
        "google json": {"inlineData": {"mimeType": "image/png", "data": payload}},
        "langchain 1": {"type": "image", "base64": payload, "mime_type": "image/png"},
        "langchain 0": {"type": "image", "source_type": "base64", "data": payload, "mime_type": "image/png"},
        "mcp": {"type": "image", "data": payload, "mimeType": "image/png"},
        "bedrock": {"image": {"format": "png", "source": {"bytes": payload}}},
    }


@pytest.mark.parametrize("payload", [ZEROS, PHOTO, base64.encodebytes(b"\0" * 300_000).decode()])
@pytest.mark.parametrize("provider", image(""))
def test_a_file_in_a_message_keeps_its_header(provider, payload):
    """Base64 in a message of any provider is truncated to its first bytes; media type and length remain."""
    part = image(payload)[provider]
    marks = Counts()

    made = record({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]}, marks)

    text, kept = made["messages"][0]["content"]
    written = str(kept)
    assert text == {"type": "text", "text": "What is it?"}
    assert len(written) < 400
    assert payload[:60].partition("\n")[0] in written
    assert "…[truncated: " in written
    assert f"of {len(payload) + len(DATA_URL) * (DATA_URL in written):,} bytes kept]" in written
    assert marks == Counts(truncated=1)


def test_a_photo_is_recognised_in_any_field():
    """The base64 of a compressed file is recognised by its characters, in a field of any name and in a list."""
    made = record({"screenshot of the page": PHOTO, "images": [PHOTO], "raw": PHOTO.replace("/", "_")})

    assert max(map(len, str(made).split("…"))) < 200


@pytest.mark.parametrize(
    "text",
    [
        "The museum opens at nine, except on Tuesdays. " * 5_000,
        "x" * 200_000,
        "ACGT" * 50_000,
        "deadbeef0123456789" * 10_000,
        "def f(a):\n    return a\n" * 10_000,
        "語" * 100_000,
        '{"id": 1, "name": "x"}' * 10_000,
    ],
)
@pytest.mark.parametrize("name", ["text", "content", "data", "result"])
def test_a_long_text_that_is_no_file_keeps_its_beginning(name, text):
    """Prose, code, JSON, hexadecimal digits and sequences of letters keep as much as the limit allows."""
    made = record({"type": "text", name: text})

    assert made[name].startswith(first_bytes(text, 65_536))


def test_a_text_document_in_a_message_keeps_its_beginning():
    """A field that may contain a file, and contains prose, is truncated like prose."""
    prose = "The museum opens at nine. " * 5_000

    made = record({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": prose}})

    assert made["source"]["data"].startswith(prose[:65_536])


def test_a_file_within_the_limit_is_kept():
    """A small image is recorded in full, as a short text is."""
    part = {"inline_data": {"mime_type": "image/png", "data": "A" * 60_000}}

    assert record(part) == part


def test_sizes_in_bytes_are_those_of_utf8():
    """A size counts bytes of UTF-8, for any characters, and a cut never falls inside one."""
    text = "aé語🙂" * 100

    assert byte_length(text, len(text)) == (1_000, True)
    assert byte_length("abc", 10) == (10, False)
    assert byte_length("éé", 10) == (20, False)
    assert [first_bytes("é語", count) for count in range(6)] == ["", "", "é", "é", "é", "é語"]
    assert valid_utf8("a\ud800\ud83d\ude00") == "a\ufffd\U0001f600"
