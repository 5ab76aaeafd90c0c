"""An HTTP server on loopback that sends the real SDK prepared answers."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

# Closes a socket with a reset.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Answer:
    """A prepared answer to a request; without a status, the connection is reset."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


RESET: Final = Answer(0)


@dataclass
class Service:
    """The prepared answers, of which the last is repeated, and the requests that the server received."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)

    def answer(self, status: int, body: Any, **headers: str) -> None:
        self.answers = [Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})]

    @property
    def texts(self) -> list[str]:
        return [str(body["csl"]) for _, body, _ in self.asked]


@contextmanager
def serve(listener: socket.socket | None = None) -> Iterator[Service]:
    service, lock = Service(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # The SDK requests the cloud's metadata before it signs in; without it, the SDK assumes the public cloud.
            self.send_error(404)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            with lock:
                service.asked.append((self.path, body, dict(self.headers)))
                answer = service.answers.pop(0) if len(service.answers) > 1 else service.answers[0]
            if not answer.status:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                self.close_connection = True
                self.rfile.close()
                self.connection.close()
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=not listener)
    if listener:
        server.socket.close()
        server.socket = listener
        server.server_address = listener.getsockname()
        server.server_port = server.server_address[1]
        server.server_activate()
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def v1(rows: list[Any], *columns: str) -> dict[str, Any]:
    names = [{"ColumnName": name, "DataType": "String", "ColumnType": "string"} for name in columns]
    return {"Tables": [{"TableName": "Table_0", "Columns": names, "Rows": rows}]}


def v2(rows: list[Any], completion: list[Any] | None = None, **closing_fields: Any) -> list[dict[str, Any]]:
    columns = [{"ColumnName": "x", "ColumnType": "long"}]
    info = [{"ColumnName": name, "ColumnType": "string"} for name in ("ClientRequestId", "Level", "Payload")]
    tables = [("PrimaryResult", columns, rows), ("QueryCompletionInformation", info, completion or [])]
    frames = [
        {
            "FrameType": "DataTable",
            "TableId": place,
            "TableKind": kind,
            "TableName": kind,
            "Columns": names,
            "Rows": found,
        }
        for place, (kind, names, found) in enumerate(tables)
    ]
    return [
        {"FrameType": "DataSetHeader", "IsProgressive": False, "Version": "v2.0"},
        *frames,
        {"FrameType": "DataSetCompletion", "HasErrors": False, "Cancelled": False, **closing_fields},
    ]


def one_api(message: str, code: str = "General_BadRequest") -> dict[str, Any]:
    return {
        "error": {"code": code, "message": "short", "@type": "Some.Exception", "@message": message, "@permanent": True}
    }
