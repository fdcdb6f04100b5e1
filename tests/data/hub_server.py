"""A local server that speaks enough of the Hub's protocol: information, trees, files, uploads small and large, commits.

Commits are kept whole, as the Hub keeps them: every one has its own files, and ``main`` is the last.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".parquet")


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubServer:
    """Repositories in memory; writing needs ``token``."""

    def __init__(self, *, token: str = "hf_secret") -> None:
        self.token = token
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: set[str] = set()
        self.large: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.spoil = ""  # a file that is sent with other bytes than its hash says

    def answer(self, method: str, target: str, body: bytes, headers: Any) -> tuple[int, dict[str, str], bytes]:
        path = unquote(urlsplit(target).path)
        self.seen.append(f"{method} {path}")
        known = headers.get("Authorization") == f"Bearer {self.token}"
        if method in ("POST", "PUT") and not known and not path.startswith("/lfs/put/"):
            return 401, {"X-Error-Message": "Invalid username or password."}, b'{"error": "Invalid token"}'
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.commits:
                return 409, {}, json.dumps({"url": f"{self.url}/{name}"}).encode()
            self.commits[name] = [("0" * 40, {})]
            if asked.get("visibility") == "private" or asked.get("private"):
                self.private.add(name)
            return 200, {}, json.dumps({"url": f"{self.url}/{name}"}).encode()
        if path.startswith("/lfs/put/"):
            self.large[parts[-1]] = body
            return 200, {}, b""
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.url}/lfs/put/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return 200, {}, json.dumps({"objects": objects, "transfer": "basic"}).encode()
        repository = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        if repository not in self.commits:
            return 404, {"X-Error-Code": "RepoNotFound"}, b'{"error": "Repository not found"}'
        if parts[0] == "api":
            return self._api(repository, parts[4:], body)
        return self._file(repository, parts[3], "/".join(parts[4:]))

    def _api(self, repository: str, rest: list[str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        what = rest[0] if rest else "revision"
        if what == "preupload":
            files = [
                {"path": name, "uploadMode": "lfs" if name.endswith(LARGE) else "regular", "shouldIgnore": False}
                for name in (each["path"] for each in json.loads(body)["files"])
            ]
            return 200, {}, json.dumps({"files": files}).encode()
        if what == "commit":
            files = dict(self.commits[repository][-1][1])
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "lfsFile":
                    files[entry["value"]["path"]] = self.large[entry["value"]["oid"]]
            commit = hashlib.sha1(body).hexdigest()
            self.commits[repository].append((commit, files))
            url = f"{self.url}/{repository}/commit/{commit}"
            return 200, {}, json.dumps({"commitUrl": url, "commitOid": commit, "success": True}).encode()
        found = self._at(repository, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        commit, files = found
        if what == "tree":
            return 200, {}, json.dumps([self._entry(name, content) for name, content in files.items()]).encode()
        about = {"id": repository, "modelId": repository, "sha": commit, "private": False, "tags": [], "downloads": 0}
        return 200, {}, json.dumps(about | {"siblings": [{"rfilename": name} for name in files]}).encode()

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "size": len(content), "oid": git_hash(content)}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 100}
        return entry

    def _file(self, repository: str, revision: str, name: str) -> tuple[int, dict[str, str], bytes]:
        found = self._at(repository, revision)
        if found is None or name not in found[1]:
            return 404, {"X-Error-Code": "EntryNotFound" if found else "RevisionNotFound"}, b""
        content = found[1][name]
        tag = hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else git_hash(content)
        headers = {"X-Repo-Commit": found[0], "ETag": f'"{tag}"'}
        return 200, headers, bytes(len(content)) if name == self.spoil else content

    def _at(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[repository][-1]
        return next((each for each in self.commits[repository] if each[0] == revision), None)

    @contextmanager
    def running(self) -> Iterator[str]:
        """The address while it runs."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _go(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                code, headers, content = outer.answer(self.command, self.path, body, self.headers)
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_HEAD = _go  # noqa: N815 - the library's names

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
