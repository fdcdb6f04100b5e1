"""Ask a language model what it knows of each gene, facet by facet, and keep the answers as texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from whycell.compute import Talk
from whycell.data.whole import check_free, written_whole
from whycell.encode.batches import Estimate, estimate, run_batches, run_one_by_one
from whycell.encode.journal import Journal, Request
from whycell.encode.service import Service
from whycell.errors import UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.knowledge.facets import QUESTIONS, SYSTEM, question
from whycell.knowledge.texts import read_gene_table

__all__ = ["describe"]

_MOST_TOKENS = 400
_PATH = "/v1/chat/completions"


def describe(
    table: Path,
    output: Path,
    *,
    facets: Sequence[str],
    service: Service,
    model: str,
    batch: bool = True,
    genes: Sequence[str] = (),
    prices: tuple[float, float] | None = None,
    agreed: Callable[[Estimate], bool] = lambda _: True,
    force: bool = False,
    talk: Talk | None = None,
) -> pd.DataFrame:
    """Answers to one question a gene and facet.

    Every request is noted in ``OUTPUT.journal.sqlite`` under the hash of all that is sent. A run that was stopped goes
    on from there; delete the file to ask all anew.

    Parameters
    ----------
    table
        What ``whycell genes build`` wrote.
    output
        Parquet file to write: ``gene_id``, ``facet``, ``text``, ``model``, ``request``.
    facets
        Which of ``knowledge.facets.QUESTIONS`` to ask.
    service, model
        The server, and the name of the model there.
    batch
        Through ``/v1/batches``, at half the price and within a day; else by plain calls.
    genes
        Gene ids or symbols to ask about; those with a summary where empty.
    prices
        Of a million tokens in, and out.
    agreed
        Asked once, before anything is sent.
    force
        Replace an output that is there.
    talk
        Told of progress.

    Returns
    -------
    What was written

    Raises
    ------
    UsageError
        An unknown facet or gene, or no agreement.
    ServiceError
        The service refuses or cannot be reached.
    """
    talk = talk or Talk()
    output = Path(output)
    check_free(output, force=force)
    unknown = [facet for facet in facets if facet not in QUESTIONS]
    if unknown or not facets:
        msg = f"There is no question on {', '.join(unknown) or 'nothing'}; there are {', '.join(QUESTIONS)}."
        raise UsageError(msg)
    chosen = _chosen(read_gene_table(table), genes)
    asked = [(str(row.gene_id), facet, _request(row, facet, model)) for row in chosen.itertuples() for facet in facets]
    requests = {request.custom_id: request for _, _, request in asked}
    with closing(Journal(output.with_name(f"{output.name}.journal.sqlite"))) as journal:
        if not agreed(estimate(requests, journal, prices=prices)):
            msg = "Nothing was sent, since it was not agreed to; --yes agrees beforehand."
            raise UsageError(msg)
        run = run_batches if batch else run_one_by_one
        answers = run(requests, service, journal=journal, talk=talk)
        failures = journal.failures(list(requests))
    rows = [
        (gene, facet, _text(answers[request.custom_id]), model, request.custom_id)
        for gene, facet, request in asked
        if request.custom_id in answers
    ]
    frame = pd.DataFrame(rows, columns=["gene_id", "facet", "text", "model", "request"])
    frame = frame.sort_values(["facet", "gene_id"], ignore_index=True)
    with written_whole(output, force=force) as scratch:
        frame.to_parquet(scratch, index=False)
    failed = [(gene, facet, failures[r.custom_id]) for gene, facet, r in asked if r.custom_id in failures]
    listed = output.with_name(f"{output.name}.failed.tsv")
    if failed:
        with written_whole(listed, force=True) as scratch:
            pd.DataFrame(failed, columns=["gene_id", "facet", "error"]).to_csv(scratch, sep="\t", index=False)
        talk.warn(f"{len(failed):,} of {len(asked):,} requests have no answer; they are listed in {listed}.")
    else:
        listed.unlink(missing_ok=True)
    write_run(
        output,
        "genes describe",
        inputs={str(table): fingerprint_file(table)},
        seed=0,
        parameters={"facets": list(facets), "service": service.url, "model": model, "batch": batch},
    )
    return frame


def _chosen(table: pd.DataFrame, genes: Sequence[str]) -> pd.DataFrame:
    if not genes:
        return table[table["summary"] != ""]
    wanted = set(genes)
    found = table[table["gene_id"].isin(wanted) | table["symbol"].isin(wanted)]
    absent = sorted(wanted - set(found["gene_id"]) - set(found["symbol"]))
    if absent:
        msg = f"The table holds no gene {', '.join(absent[:5])}; gene ids such as NCBIGene:3630 or symbols are needed."
        raise UsageError(msg)
    return found


def _request(row: Any, facet: str, model: str) -> Request:
    prompt = question(facet, symbol=row.symbol, name=row.name, summary=row.summary)
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
    return Request(_PATH, {"model": model, "messages": messages, "max_tokens": _MOST_TOKENS, "temperature": 0})


def _text(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"]).strip()
