"""A small Hugging Face Hub on the loopback: repositories in memory, served by a real HTTP server."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

SMALL = 50_000  # bytes; larger files go the way of Git LFS
INFO = re.compile(r"/api/(models|spaces)/([^/]+/[^/]+)(?:/revision/([^/]+))?")
TREE = re.compile(r"/api/(models|spaces)/([^/]+/[^/]+)/tree/([^/]+)")
PREUPLOAD = re.compile(r"/api/(models|spaces)/([^/]+/[^/]+)/preupload/main")
COMMIT = re.compile(r"/api/(models|spaces)/([^/]+/[^/]+)/commit/main")
BATCH = re.compile(r"/(?:spaces/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
OBJECT = re.compile(r"/lfs-objects/([0-9a-f]{64})")


@dataclass
class Repository:
    """One repository; every commit keeps its files."""

    private: bool = False
    sdk: str | None = None
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    def at(self, revision: str) -> dict[str, bytes] | None:
        if revision == "main":
            return self.files
        return next((files for number, files in enumerate(self.commits) if sha(number) == revision), None)


def sha(number: int) -> str:
    """The commit of that number, counted from 0."""
    return hashlib.sha1(str(number).encode()).hexdigest()


def blob(content: bytes) -> str:
    """What Git calls such a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class FakeHub(ThreadingHTTPServer):
    """The Hub, with one account.

    Attributes:
        account: what it knows of whoever has the token "good".
        refuse: part of a path -> the status that is answered there.
        cut: part of a path where the connection ends without an answer.
        repositories: by kind ("models", "spaces") and name.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.account = {"name": "flora", "type": "user", "orgs": [{"name": "garden"}], "isPro": False}
        self.refuse: dict[str, int] = {}
        self.cut: str | None = None
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is not worth a traceback."""


@contextmanager
def serving() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """Answers as the Hub does, as far as huggingface_hub asks."""

    protocol_version = "HTTP/1.1"
    server: FakeHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.asked.append(f"{self.command} {path}")
        if self.server.cut and self.server.cut in path:
            self.close_connection = True
            return
        for part, status in self.server.refuse.items():
            if part in path:
                return self._json({"error": "so it was told"}, status)
        if self.command in ("POST", "PUT") and not path.startswith("/lfs-objects/"):
            if self.headers.get("authorization") != "Bearer good":
                return self._json({"error": "Invalid username or password."}, 401)
        self._route(path, body)

    def _route(self, path: str, body: bytes) -> None:
        if path == "/api/whoami-v2":
            good = self.headers.get("authorization") == "Bearer good"
            return self._json(
                self.server.account if good else {"error": "Invalid user token."}, 200 if good else 401
            )
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        for pattern, method in (
            (PREUPLOAD, self._preupload),
            (COMMIT, self._commit),
            (TREE, self._tree),
            (BATCH, self._batch),
            (OBJECT, self._object),
            (INFO, self._info),
            (RESOLVE, self._resolve),
        ):
            if found := pattern.fullmatch(path):
                return method(body, *found.groups())
        self._json({"error": f"no {path}"}, 404)

    def _create(self, wish: dict[str, Any]) -> None:
        kind = f"{wish.get('type', 'model')}s"
        name = f"{wish['organization']}/{wish['name']}"
        if (kind, name) in self.server.repositories:
            return self._json({"error": "You already created this repo"}, 409)
        private = wish.get("visibility") == "private"
        self.server.repositories[kind, name] = Repository(private, wish.get("sdk"))
        self._json({"url": f"{self.server.url}/{'spaces/' if kind == 'spaces' else ''}{name}"})

    def _repository(self, kind: str, name: str) -> Repository | None:
        found = self.server.repositories.get((kind, name))
        if found is None:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        return found

    def _info(self, _: bytes, kind: str, name: str, revision: str | None) -> None:
        repository = self._repository(kind, name)
        if repository is None:
            return
        files = repository.at(revision or "main")
        if files is None:
            return self._json({"error": "no revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
        number = repository.commits.index(files)
        self._json(
            {
                "id": name,
                "sha": sha(number),
                "private": repository.private,
                "sdk": repository.sdk,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": [{"rfilename": path} for path in files],
            }
        )

    def _tree(self, _: bytes, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name)
        files = (repository.at(revision) if repository else None) or {}
        rows = [
            {"type": "file", "path": path, "size": len(content), "oid": blob(content)}
            for path, content in files.items()
        ]
        self._json(rows)

    def _preupload(self, body: bytes, kind: str, name: str) -> None:
        repository = self._repository(kind, name)
        if repository is None:
            return
        rows = []
        for file in json.loads(body)["files"]:
            mode = "lfs" if file["size"] > SMALL else "regular"
            rows.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        self._json({"files": rows})

    def _batch(self, body: bytes, _: str) -> None:
        rows = []
        for wanted in json.loads(body)["objects"]:
            href = f"{self.server.url}/lfs-objects/{wanted['oid']}"
            actions = {} if wanted["oid"] in self.server.objects else {"actions": {"upload": {"href": href}}}
            rows.append({**wanted, **actions})
        self._json({"transfer": "basic", "objects": rows})

    def _object(self, body: bytes, digest: str) -> None:
        assert hashlib.sha256(body).hexdigest() == digest
        self.server.objects[digest] = body
        self._json({})

    def _commit(self, body: bytes, kind: str, name: str) -> None:
        repository = self._repository(kind, name)
        if repository is None:
            return
        files = dict(repository.files)
        for line in body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif step["key"] == "deletedFile":
                del files[value["path"]]
        repository.commits.append(files)
        number = len(repository.commits) - 1
        self._json({"commitUrl": f"{self.server.url}/{name}/commit/{sha(number)}", "commitOid": sha(number)})

    def _resolve(self, _: bytes, name: str, revision: str, path: str) -> None:
        repository = self._repository("models", name)
        if repository is None:
            return
        files = repository.at(revision)
        if files is None:
            return self._json({"error": "no revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
        commit = {"X-Repo-Commit": sha(repository.commits.index(files))}
        if path not in files:
            return self._json({"error": "no entry"}, 404, {"X-Error-Code": "EntryNotFound", **commit})
        self._bytes(files[path], 200, {"ETag": f'"{blob(files[path])}"', **commit})

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._bytes(
            json.dumps(value).encode(), status, {"content-type": "application/json", **(headers or {})}
        )

    def _bytes(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
