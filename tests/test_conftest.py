"""The fixtures for all tests: an empty folder per test, and no network."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest


def test_each_test_runs_in_its_own_folder(tmp_path):
    """
    The working directory of a test is its own empty folder.
    """
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 80)])
def test_a_connection_to_another_machine_raises(address):
    """
    A connection to another machine, by name or by address, raises immediately.
    """
    with pytest.raises(RuntimeError, match="tests must stay on this machine"):
        socket.create_connection(address)


async def test_an_asyncio_connection_to_another_machine_raises():
    """
    Connections of the event loop raise as well.
    """
    with pytest.raises(RuntimeError, match="tests must stay on this machine"):
        await asyncio.open_connection("example.org", 80)


def test_a_connection_to_this_machine_is_allowed():
    """
    A connection to the loopback address succeeds.
    """
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
