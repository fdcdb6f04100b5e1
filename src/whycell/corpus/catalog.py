"""A catalogue that can be asked: DuckDB over its Parquet, with nothing to write and nothing else to read.

Views: ``files`` (one row a file), ``cells`` (runs of neighbouring cells of which a file says the same; without those
that are in the corpus a second time), ``runs`` (with them), ``var`` (genes), ``dist`` (depth), ``labels`` (what words
mean, and by which rule), ``columns`` (what each file calls its fields, and by which rule).
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pandas as pd

from whycell.corpus.parts import SCHEMAS, check_catalog
from whycell.errors import UsageError

__all__ = ["VIEWS", "Catalog"]

_OK = "(select key from files where status = 'ok')"

#: Views beyond ``files`` and the SQL each stands for; {part} is where the Parquet of a part is read.
VIEWS: dict[str, str] = {
    "runs": f"select * from {{runs}} where key in {_OK}",
    "cells": "select * from runs where is_primary",
    "var": f"select * from {{var}} where key in {_OK}",
    "dist": f"select * from {{dist}} where key in {_OK}",
    "labels": f"select * from {{labels}} where key in {_OK}",
    "columns": (
        "select files.key, each.key as field, each.value ->> '$.column' as \"column\", each.value ->> '$.rule' as rule "
        "from files, json_each(columns) as each where status = 'ok'"
    ),
}


class Catalog:
    """An open catalogue. Use as a context manager, or call `close`.

    Parameters
    ----------
    folder
        What ``corpus scan`` wrote.
    threads
        Processor cores of one question; 0 means all.

    Raises
    ------
    FormatError
        It is no catalogue, or of another version.
    """

    def __init__(self, folder: Path | str, *, threads: int = 0) -> None:
        self.folder = Path(folder).absolute()
        check_catalog(self.folder)
        self._base = duckdb.connect(":memory:")
        if threads:
            self._base.execute(f"set threads = {int(threads)}")
        self._base.execute("set temp_directory = ''")
        inside = _quoted(f"{self.folder}/")
        self._base.execute(f"set allowed_directories = [{inside}]")
        self._base.execute("set autoinstall_known_extensions = false; set autoload_known_extensions = false")
        sources = {part: self._source(part) for part in SCHEMAS}
        self._base.execute(f"create view files as select * from {sources['files']}")
        for name, sql in VIEWS.items():
            self._base.execute(f'create view "{name}" as {sql.format(**sources)}')
        # From here on whatever is asked may read these folders and nothing else, and no question can change that.
        self._base.execute("set enable_external_access = false")
        self._base.execute("set lock_configuration = true")

    def sql(self, question: str) -> pd.DataFrame:
        """The answer to one SELECT.

        Parameters
        ----------
        question
            SQL in DuckDB's dialect.

        Raises
        ------
        UsageError
            It is more than one statement, one that is no question, or DuckDB does not understand it.
        """
        try:
            statements = self._base.extract_statements(question)
            kinds = [statement.type.name for statement in statements]
            if len(kinds) != 1 or kinds[0] not in ("SELECT", "EXPLAIN"):
                got = " and ".join(kinds) or "nothing"
                msg = f"A catalogue answers one SELECT; got {got}."
                raise UsageError(msg)
            answer = self._base.execute(statements[0])
            sums = [told[0] for told in answer.description or () if str(told[1]) == "HUGEINT"]
            frame = answer.df()
        except duckdb.Error as error:
            told = str(error).strip().splitlines()
            msg = f"The catalogue cannot answer that: {' '.join(line.strip() for line in told[:2])}"
            raise UsageError(msg) from error
        for name in sums:  # DuckDB adds whole numbers up into 128 bits, which pandas would show as fractions
            if isinstance(frame[name], pd.Series) and frame[name].abs().max() < 2**53:
                frame[name] = frame[name].astype("Int64")
        return frame

    def one(self, question: str) -> Any:
        """The first value of the answer to ``question``."""
        return self.sql(question).iloc[0, 0]

    def close(self) -> None:
        """Forget it."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _source(self, part: str) -> str:
        """Where a part is read: its Parquet, or a table without rows where no file has been scanned yet."""
        folder = self.folder / part
        if any(folder.glob("*.parquet")):
            return f"read_parquet({_quoted(f'{folder}/*.parquet')})"
        name = f"no_{part}"
        self._base.register(name, SCHEMAS[part].empty_table())
        return name


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
