"""The ground of the tests holds: a folder of their own, and no network."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest


def test_a_test_runs_in_a_folder_of_its_own(tmp_path):
    """
    Files a test leaves behind land in its own empty folder.
    """
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 80)])
def test_a_connection_to_elsewhere_raises(address):
    """
    A socket to another machine raises at once, whether it is named or numbered.
    """
    with pytest.raises(RuntimeError, match="tests stay on this machine"):
        socket.create_connection(address)


async def test_a_connection_to_elsewhere_raises_in_asyncio_too():
    """
    The event loop looks names up and connects by the same calls.
    """
    with pytest.raises(RuntimeError, match="tests stay on this machine"):
        await asyncio.open_connection("example.org", 80)


def test_a_connection_to_this_machine_is_allowed():
    """
    A collector on the loopback address can be talked to.
    """
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
