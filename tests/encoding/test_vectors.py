"""Embedding vectors are recorded in a short form, unless they are wanted in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.genai.types import ContentEmbedding, EmbedContentResponse
from openai.types import CreateEmbeddingResponse, Embedding
from openai.types.create_embedding_response import Usage

import fluxloop
from fluxloop.encoding import vectors
from fluxloop.encoding.vectors import shortened
from fluxloop.testing import capture

VECTOR = [3.0, 4.0] + [0.0] * 62
SHORT = {"length": 64, "dtype": "float", "norm": 5.0, "first": [3.0, 4.0, 0.0, 0.0, 0.0]}


def recorded(value: Any, **settings: Any) -> Any:
    @fluxloop.trace(observation_type="embedding")
    def embed(text: str) -> Any:
        return value

    with capture(**settings) as captured, fluxloop.instrument("run"):
        assert embed("hi") is value
    return captured.traces()[0].observations[1].output


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (VECTOR, SHORT),
        ([VECTOR, VECTOR], [SHORT, SHORT]),
        ({"vectors": (VECTOR,), "model": "m"}, {"vectors": [SHORT], "model": "m"}),
        (np.array(VECTOR, dtype="float32"), {**SHORT, "dtype": "float32"}),
        (np.array([VECTOR]), [{**SHORT, "dtype": "float64"}]),
        ([1, 2, 3], [1, 2, 3]),
        (["text"] * 64, ["text"] * 64),
    ],
)
def test_a_vector_is_its_length_norm_and_first_values(value: Any, expected: Any) -> None:
    assert recorded(value) == expected


def test_the_responses_of_sdks_are_read() -> None:
    openai = CreateEmbeddingResponse(
        data=[Embedding(embedding=VECTOR, index=0, object="embedding")],
        model="m",
        object="list",
        usage=Usage(prompt_tokens=1, total_tokens=1),
    )
    google = EmbedContentResponse(embeddings=[ContentEmbedding(values=VECTOR)])

    assert recorded(openai)["data"][0]["embedding"] == SHORT
    assert recorded(google)["embeddings"][0]["values"] == SHORT
    assert openai.data[0].embedding == VECTOR


def test_vectors_are_recorded_in_full_on_request() -> None:
    assert recorded([VECTOR], capture_vectors=True) == [VECTOR]


def test_other_observations_keep_their_numbers() -> None:
    @fluxloop.tool(name="EMBEDDING")
    def numbers() -> list[float]:
        return VECTOR

    with capture() as captured, fluxloop.instrument("run"):
        numbers()

    assert captured.traces()[0].observations[1].output == VECTOR


def test_an_object_that_raises_is_left_as_it_is() -> None:
    class Hostile:
        @property
        def shape(self) -> Any:
            raise RuntimeError

    hostile = Hostile()
    assert shortened(hostile) is hostile


def test_only_lists_with_the_length_of_a_vector_are_read_as_one() -> None:
    numbers = [0.5] * (vectors.MAX_ITEMS + 1)

    assert shortened(numbers) is numbers
    assert shortened({"embedding": numbers})["embedding"] is numbers
