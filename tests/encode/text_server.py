"""A local server that speaks the protocol of batches, embeddings and chats, and misbehaves on purpose."""

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class TextServer:
    """Answers chats with their own question turned into capitals, embeddings with letter counts.

    Parameters
    ----------
    refuse
        Share of requests in a batch that fail the first time.
    expire
        The first batch expires half done.
    busy
        Every n-th call is told to come again (429).
    cut
        Every n-th call has its connection cut.
    """

    def __init__(self, *, refuse: float = 0.0, expire: bool = False, busy: int = 0, cut: int = 0) -> None:
        self.refuse, self.expire, self.busy, self.cut = refuse, expire, busy, cut
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.paid: Counter[str] = Counter()
        self.seen_keys: set[str] = set()
        self.once: dict[str, Any] = {}
        self.calls = 0
        self.random = random.Random(0)
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        with self.lock:
            self.calls += 1
            self.seen_keys.add(headers.get("Authorization", ""))
            if self.busy and self.calls % self.busy == 0:
                return 429, {"error": {"message": "slow down"}}
            if self.cut and self.calls % self.cut == 0:
                return 0, None
            once = headers.get("Idempotency-Key")
            if once and once in self.once:
                return 200, self.once[once]
            code, out = self._route(method, path.split("?")[0], body)
            if once and code == 200:
                self.once[once] = out
            return code, out

    def _route(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if (method, path) == ("POST", "/v1/files"):
            file_id = f"file-{len(self.files)}"
            self.files[file_id] = re.search(rb'\r\n\r\n(\{"custom_id.*?)\r\n--', body, re.DOTALL)[1].decode()
            return 200, {"id": file_id}
        if (method, path) == ("POST", "/v1/batches"):
            asked = json.loads(body)
            batch = {"id": f"batch-{len(self.batches)}", "status": "in_progress", "polls": 0, **asked}
            self.batches[batch["id"]] = batch
            self._run(batch)
            return 200, batch
        if path == "/v1/batches":
            return 200, {"data": list(self.batches.values()), "has_more": False}
        if path.startswith("/v1/batches/"):
            batch = self.batches[path.rsplit("/", 1)[1]]
            batch["polls"] += 1
            if batch["polls"] > 1:
                batch["status"] = batch["final"]
            return 200, batch
        if path.startswith("/v1/files/"):
            return 200, self.files[path.split("/")[3]]
        if method != "POST":
            return 404, {"error": {"message": f"no {path}"}}
        asked = json.loads(body)
        if path == "/v1/embeddings":
            self.paid.update(asked["input"])
            said = _vectors(asked)
            self.random.shuffle(said["data"])
            return 200, said
        if path == "/v1/chat/completions":
            self.paid[asked["messages"][-1]["content"]] += 1
            return 200, _chat(asked)
        return 404, {"error": {"message": f"no {path}"}}

    def _run(self, batch: dict[str, Any]) -> None:
        rows = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        self.random.shuffle(rows)
        expired = self.expire and len(self.batches) == 1
        good, bad = [], []
        for i, row in enumerate(rows):
            if expired and i % 2:
                continue
            if self.refuse and self.random.random() < self.refuse:
                bad.append({"custom_id": row["custom_id"], "response": {"status_code": 500, "body": {"error": "no"}}})
                continue
            self.paid[row["custom_id"]] += 1
            said = _vectors(row["body"]) if row["url"] == "/v1/embeddings" else _chat(row["body"])
            good.append({"custom_id": row["custom_id"], "response": {"status_code": 200, "body": said}})
        good.append({"custom_id": "somebody-else", "response": {"status_code": 200, "body": {}}})
        self.files[f"out-{batch['id']}"] = "\n".join(json.dumps(row) for row in good) + '\n{"custom_id": "cut sho'
        self.files[f"err-{batch['id']}"] = "\n".join(json.dumps(row) for row in bad)
        batch["final"] = "expired" if expired else "completed"
        batch["output_file_id"] = f"out-{batch['id']}"
        batch["error_file_id"] = f"err-{batch['id']}" if bad else None

    @contextmanager
    def running(self) -> Iterator[str]:
        """The address while it runs."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _go(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                code, out = outer.answer(self.command, self.path, body, self.headers)
                if code == 0:
                    self.close_connection = True
                    return
                content = (out if isinstance(out, str) else json.dumps(out)).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                if code == 429:
                    self.send_header("Retry-After", "3")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _go  # noqa: N815 - the library's names

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _vectors(body: dict[str, Any]) -> dict[str, Any]:
    return {"data": [{"index": i, "embedding": [len(t), t.count("a")]} for i, t in enumerate(body["input"])]}


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"message": {"content": body["messages"][-1]["content"].upper()}}]}
