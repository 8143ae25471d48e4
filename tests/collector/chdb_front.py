"""
ClickHouse's own engine (chdb) behind HTTP, with what clickhouse-connect needs of a server.

Run as a program, ``python chdb_front.py FOLDER PORT``: chdb allows one engine in a process, and a server has to be one
that can be killed. The engine is the real one: parsing, tables, merges, functions and errors. Of a cluster it has one
shard on the same server; tables are not replicated, for which ClickHouse Keeper would be needed.
"""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import gzip
import os
import re
import socket
import sys
import tempfile
import threading
from pathlib import Path

import lz4.frame
import uvicorn
from chdb._exceptions import ChdbError  # the one of `chdb` itself is never raised
from chdb.session import Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

CLUSTER = "one_shard"

CONFIG = f"""<clickhouse>
  <tcp_port>9000</tcp_port>
  <macros><shard>1</shard><replica>a</replica></macros>
  <remote_servers><{CLUSTER}><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></{CLUSTER}>
  </remote_servers>
</clickhouse>"""

_NO_SETTINGS = {"database", "query", "query_id", "session_id", "client_protocol_version", "wait_end_of_query"}
_NO_SETTINGS |= {"prefer_localhost_replica"}  # the only replica is this process, which listens to no other

_REPLICATED = re.compile(r"ENGINE = Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?")


_UNPACKED = {"": bytes, "gzip": gzip.decompress, "lz4": lz4.frame.decompress}


class Engine:
    """The engine in *folder*; one request at a time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        config = folder / "config.xml"
        config.write_text(CONFIG)
        self._session = Session(f"{folder / 'data'}?config-file={config}")
        self._folder = folder
        self._settings: dict[str, str] = {}

    def run(self, sql: bytes, options: dict[str, str]) -> bytes:
        """Run *sql*, which may be followed by the rows of an INSERT."""
        settings = {
            name: value for name, value in options.items() if name not in _NO_SETTINGS and not name.startswith("param_")
        }
        parameters = {
            name.removeprefix("param_"): value for name, value in options.items() if name.startswith("param_")
        }
        self._session.query(f"USE `{options.get('database') or 'default'}`")
        for name in self._settings.keys() - settings.keys():
            self._session.query(f"SET {name} = DEFAULT")
        for name, value in settings.items() - self._settings.items():
            self._session.query(f"SET {name} = '{value}'")
        self._settings = settings
        return self._query(sql, parameters)

    def _query(self, sql: bytes, parameters: dict[str, str]) -> bytes:
        if inserted := re.match(rb"(INSERT INTO .*?) FORMAT Native *\n", sql, re.IGNORECASE | re.DOTALL):
            with tempfile.NamedTemporaryFile(dir=self._folder) as file:
                file.write(sql[inserted.end() :])
                file.flush()
                self._session.query(f"{inserted[1].decode()} FROM INFILE '{file.name}' FORMAT Native")
            return b""
        text = sql.decode()
        if "ON CLUSTER" in text:
            text = text.replace(f" ON CLUSTER `{CLUSTER}`", "")
            text = _REPLICATED.sub(r"ENGINE = \1(", text)
        return bytes(self._session.query(text, "TabSeparated", params=parameters).bytes())


async def _body(request: Request) -> tuple[bytes, dict[str, str]]:
    """Return the statement, and the options of the request."""
    options = dict(request.query_params)
    body = await request.body()
    body = _UNPACKED[request.headers.get("content-encoding", "")](body)
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        for part in form.iter_parts():
            name = part.get_param("name", header="content-disposition")
            options[str(name)] = bytes(part.get_payload(decode=True) or b"").decode()
        body = b""
    query = options.pop("query", "").encode()
    return (query + b"\n" + body if query and body else query or body), options


def application(engine: Engine) -> Starlette:
    one_at_a_time = asyncio.Lock()

    async def answer(request: Request) -> Response:
        sql, options = await _body(request)
        async with one_at_a_time:
            try:
                found = await asyncio.to_thread(engine.run, sql, options)
            except ChdbError as error:
                text = str(error)
                code = re.search(r"Code: (\d+)", text)
                headers = {"X-ClickHouse-Exception-Code": code[1] if code else "1002"}
                return Response(text, 500, headers)
        headers = {"X-ClickHouse-Summary": "{}", "X-ClickHouse-Timezone": "UTC"}
        return Response(found, headers=headers, media_type="application/octet-stream")

    async def ping(request: Request) -> Response:
        return Response("Ok.\n")

    return Starlette(routes=[Route("/", answer, methods=["GET", "POST"]), Route("/ping", ping)])


def _end_with_parent() -> None:
    """End this process when the one that started it ends, and with it the pipe to the standard input."""
    sys.stdin.buffer.read()
    os._exit(0)


def main(arguments: list[str]) -> None:
    folder, port = arguments
    with socket.create_server(("127.0.0.1", int(port))) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does not do this for given sockets
        threading.Thread(target=_end_with_parent, daemon=True).start()
        server = uvicorn.Server(uvicorn.Config(application(Engine(Path(folder))), log_level="warning"))
        server.run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1:])
