"""What was asked of a service, what it answered, and what is still on its way: an SQLite file that outlives a kill."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whycell.errors import FormatError

__all__ = ["Journal", "Request"]

_TABLES = """
CREATE TABLE IF NOT EXISTS requests (
    custom_id TEXT PRIMARY KEY, body TEXT NOT NULL, batch TEXT, answer TEXT, error TEXT,
    attempts INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (token TEXT PRIMARY KEY, batch_id TEXT, closed INTEGER NOT NULL DEFAULT 0);
"""


@dataclass(frozen=True)
class Request:
    """One request.

    Parameters
    ----------
    path
        Where it goes: ``"/v1/chat/completions"``.
    body
        What is sent.
    """

    path: str
    body: Mapping[str, Any]

    @property
    def custom_id(self) -> str:
        """Its address: the hash of all that is sent, so that another prompt or model is another request."""
        text = json.dumps([self.path, self.body], sort_keys=True, ensure_ascii=False)
        return "w-" + hashlib.sha256(text.encode()).hexdigest()[:40]


class Journal:
    """Requests and answers by their ids.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=60)
            self._db.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            msg = f"{path} cannot be used as a journal of requests ({error}); move it away to begin anew."
            raise FormatError(msg) from None

    def add(self, requests: Mapping[str, Request]) -> None:
        """Note requests; those that are known keep their answers."""
        rows = [(key, json.dumps([r.path, r.body], sort_keys=True)) for key, r in requests.items()]
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO requests (custom_id, body) VALUES (?, ?)", rows)

    def waiting(self, wanted: Sequence[str], *, most_attempts: int) -> list[str]:
        """Ids neither answered, nor on their way, nor tried too often; in a fixed order."""
        rows = self._db.execute(
            "SELECT custom_id FROM requests WHERE answer IS NULL AND batch IS NULL AND attempts < ? ORDER BY custom_id",
            (most_attempts,),
        )
        asked = set(wanted)
        return [key for (key,) in rows if key in asked]

    def begin_batch(self, token: str, keys: Sequence[str]) -> None:
        """Note that a batch is about to be sent: before it is, so that a kill in between leaves a trace."""
        with self._db:
            self._db.execute("INSERT INTO batches (token) VALUES (?)", (token,))
            self._db.executemany("UPDATE requests SET batch = ? WHERE custom_id = ?", [(token, key) for key in keys])

    def name_batch(self, token: str, batch_id: str) -> None:
        """The service has taken it, under this id."""
        with self._db:
            self._db.execute("UPDATE batches SET batch_id = ? WHERE token = ?", (batch_id, token))

    def open_batches(self) -> list[tuple[str, str | None, list[str]]]:
        """(token, id at the service or None, requests) of what is on its way."""
        batches = self._db.execute("SELECT token, batch_id FROM batches WHERE closed = 0 ORDER BY rowid").fetchall()
        return [
            (
                token,
                batch_id,
                [k for (k,) in self._db.execute("SELECT custom_id FROM requests WHERE batch = ?", (token,))],
            )
            for token, batch_id in batches
        ]

    def close_batch(self, token: str, answers: Mapping[str, Any], errors: Mapping[str, str]) -> None:
        """A batch has ended: keep what it answered; what it did not answer waits again.

        Only an error counts as an attempt: a batch that never arrived says nothing against its requests.
        """
        with self._db:
            self._keep(answers, errors)
            self._db.execute("UPDATE requests SET batch = NULL WHERE batch = ?", (token,))
            self._db.execute("UPDATE batches SET closed = 1 WHERE token = ?", (token,))

    def keep(self, answers: Mapping[str, Any], errors: Mapping[str, str]) -> None:
        """Keep answers that came one by one."""
        with self._db:
            self._keep(answers, errors)

    def answers(self, wanted: Sequence[str]) -> dict[str, Any]:
        """Answers by id, of those wanted."""
        rows = self._db.execute("SELECT custom_id, answer FROM requests WHERE answer IS NOT NULL")
        asked = set(wanted)
        return {key: json.loads(answer) for key, answer in rows if key in asked}

    def failures(self, wanted: Sequence[str]) -> dict[str, str]:
        """The last error of each request that has no answer."""
        rows = self._db.execute("SELECT custom_id, error FROM requests WHERE answer IS NULL")
        asked = set(wanted)
        return {key: error or "not answered" for key, error in rows if key in asked}

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _keep(self, answers: Mapping[str, Any], errors: Mapping[str, str]) -> None:
        known = "UPDATE requests SET answer = ?, error = NULL WHERE custom_id = ? AND answer IS NULL"
        self._db.executemany(known, [(json.dumps(a, sort_keys=True), key) for key, a in answers.items()])
        self._db.executemany(
            "UPDATE requests SET error = ?, attempts = attempts + 1 WHERE custom_id = ? AND answer IS NULL",
            [(error, key) for key, error in errors.items()],
        )
