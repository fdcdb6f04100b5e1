"""Gather the cells of a plan into a corpus: read, encode, mix."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from whycell.compute import Talk
from whycell.corpus.far_files import Traffic
from whycell.corpus.fragments import BYTES, Piece, Plan, pieces_of, read_plan
from whycell.corpus.gather import REQUESTS, Gathered, gather, gathered_rows
from whycell.corpus.sampling import choose_pieces, sample_of
from whycell.corpus.shuffle import shuffle
from whycell.corpus.store import ENCODER, is_store, open_store
from whycell.data.fetch import local_copy
from whycell.data.whole import check_free, write_whole
from whycell.errors import DataError, UsageError

__all__ = ["gather_corpus"]

_ASKED, _FAILED = "asked", "failed"  # files beside the fragments


def gather_corpus(
    plan: Path,
    output: Path,
    *,
    representation: str = "expression",
    gene_vectors: str | Path | None = None,
    catalog: Path | None = None,
    requests: int = REQUESTS,
    memory: int = 1 << 30,
    piece_bytes: int = BYTES,
    seed: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> Gathered:
    """Read the cells that a plan chose from where they lie, encode them, and mix them into a store.

    What was read is kept beside the output until that is complete: a run that was killed goes on where it was. A file
    that could not be read is in the answer's ``failures``; the store then holds the others, what was read stays, and
    the same call with ``force`` tries the missing ones again.

    Parameters
    ----------
    plan
        What ``whycell corpus select`` wrote.
    output
        Folder of the corpus to write.
    representation
        ``"expression"``: principal directions, fitted on a sample of the plan; ``"genept-w"``: the text vectors of
        genes.
    gene_vectors
        For ``"genept-w"``: what ``whycell genes embed`` wrote, a file or its address.
    catalog
        Folder of the catalogue; ``None`` is the one the plan names.
    requests
        Requests at once.
    memory
        Bytes that mixing may hold at once.
    piece_bytes
        Stored bytes, about, that are read, encoded and kept as one.
    seed
        Of the sample and of the order.
    force
        Replace a corpus that is there.
    talk
        Told of progress.

    Returns
    -------
    Gathered

    Raises
    ------
    UsageError
        Gene vectors that the representation does not go with.
    DataError
        No file of the plan could be read.
    """
    talk = talk or Talk()
    if (representation == "genept-w") != (gene_vectors is not None):
        got = "without" if gene_vectors is None else "with"
        msg = f"got --representation {representation} {got} --gene-vectors; they go with genept-w, and only with it."
        raise UsageError(msg)
    output = Path(output)
    vectors = None if gene_vectors is None else local_copy(gene_vectors)
    chosen = read_plan(plan)
    work = output.with_name(f".{output.name}.gathering")
    asked = _asked(chosen, representation=representation, gene_vectors=vectors, piece_bytes=piece_bytes, seed=seed)
    if not force and _was_finished(work, asked, output):
        _clear(work, output)
        return Gathered(n_cells=open_store(output, verify=False).about["n"])
    check_free(output, force=force)
    where = _catalog(chosen, catalog, Path(plan))
    pieces = pieces_of(chosen, piece_bytes=piece_bytes)
    _begin(work, asked, talk)
    encoder, sampled = _encoder(work, pieces, where, talk, representation, vectors, requests=requests, seed=seed)
    done = gather(
        pieces,
        work,
        encode=encoder.encode,
        encoder_digest=encoder.digest,
        catalog=where,
        requests=requests,
        talk=talk,
    )
    _add(done, sampled)
    _tell(done, len(pieces), talk)
    if not done.n_cells:
        msg = f"None of the {len(pieces)} pieces of {plan} could be read: {next(iter(done.failures.values()))}"
        raise DataError(msg)
    write_whole(work / _FAILED, json.dumps(done.failures, indent=1))
    shuffle(work, output, seed=seed, memory=memory, force=force, talk=talk)
    if not done.failures:
        _clear(work, output)
    return done


def _was_finished(work: Path, asked: str, output: Path) -> bool:
    """Whether a run was killed after its store was complete, before it had cleared up."""
    if not is_store(output):
        return False
    if _rest(work).exists():
        return True
    failed = work / _FAILED
    return failed.is_file() and failed.read_text(encoding="utf-8") == "{}" and (work / _ASKED).read_text() == asked


def _rest(work: Path) -> Path:
    return work.with_name(f"{work.name}-done")


def _clear(work: Path, output: Path) -> None:
    """Remove what is not needed any more. Renamed first: a folder half removed is not taken for work to go on with."""
    shutil.rmtree(output.with_name(f".{output.name}.shuffling"), ignore_errors=True)
    if work.exists():
        shutil.rmtree(_rest(work), ignore_errors=True)
        work.replace(_rest(work))
    shutil.rmtree(_rest(work), ignore_errors=True)


def _catalog(plan: Plan, given: Path | None, path: Path) -> Path:
    """The catalogue of a plan: as given, as named, or as named beside the plan."""
    if given is not None:
        return Path(given)
    named = plan.catalog
    if named is None:
        msg = f"{path} does not name its catalogue; say where it is with --catalog."
        raise UsageError(msg)
    return named if named.is_dir() or named.is_absolute() else path.parent / named


def _asked(plan: Plan, *, representation: str, gene_vectors: Path | None, piece_bytes: int, seed: int) -> str:
    """All that decides the fragments, as text."""
    vectors = None if gene_vectors is None else _digest(Path(gene_vectors))
    told = {
        "plan": plan.digest,
        "representation": representation,
        "vectors": vectors,
        "piece_bytes": piece_bytes,
        "seed": seed,
    }
    return json.dumps(told, sort_keys=True)


def _begin(work: Path, asked: str, talk: Talk) -> None:
    """The folder in which fragments wait for the store; what another plan or encoder left there is removed."""
    mark = work / _ASKED
    if work.is_dir() and (not mark.is_file() or mark.read_text(encoding="utf-8") != asked):
        talk.note(f"What was begun in {work} was of another plan or encoder; it is begun anew.")
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    write_whole(mark, asked)


def _digest(path: Path) -> str:
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    parts = hashlib.sha256()
    for each in files:
        with each.open("rb") as stream:
            parts.update(hashlib.file_digest(stream, "sha256").digest())
    return parts.hexdigest()


def _encoder(
    work: Path,
    pieces: list[Piece],
    catalog: Path,
    talk: Talk,
    representation: str,
    gene_vectors: Path | None,
    *,
    requests: int,
    seed: int,
) -> tuple[Any, Gathered]:
    """The encoder fitted on a sample; always the one read back from disk, before a kill as after it."""
    from whycell.models.corpus_encoder import corpus_encoder, load_corpus_encoder

    sampled = Gathered()
    folder = work / ENCODER
    if not (folder / "encoder.json").is_file():
        some = choose_pieces(pieces, seed=seed)
        found, sampled = gathered_rows(some, work, seed=seed, catalog=catalog, requests=requests, talk=talk)
        if not found:
            msg = f"None of the {len(some)} pieces sampled could be read: {next(iter(sampled.failures.values()))}"
            raise DataError(msg)
        sample = sample_of(found)
        made = corpus_encoder(
            sample.counts,
            sample.genes,
            cells=sample.cells,
            representation=representation,
            gene_vectors=gene_vectors,
            measured=sample.measured,
            seed=seed,
        )
        made.save(folder)
        n, d = len(sample.cells), made.n_dimensions
        talk.note(f"Encoder ({representation}, {d} dimensions) fitted on {n:,} cells of {len(found)} pieces.")
    return load_corpus_encoder(folder), sampled


def _add(done: Gathered, sampled: Gathered) -> None:
    traffic = Traffic(**vars(sampled.traffic))
    for name, value in vars(done.traffic).items():
        setattr(traffic, name, getattr(traffic, name) + value)
    done.traffic = traffic
    done.notes = {**sampled.notes, **done.notes}


def _tell(done: Gathered, n_pieces: int, talk: Talk) -> None:
    for address, note in sorted(done.notes.items()):
        talk.note(f"{address}: {note}")
    again = f", {done.traffic.retries:,} of them again" if done.traffic.retries else ""
    before = f" ({done.resumed:,} were there already)" if done.resumed else ""
    talk.note(
        f"{done.n_cells:,} cells in {done.n_fragments:,} of {n_pieces:,} fragments{before}; "
        f"{done.traffic.bytes_read / 1e6:,.1f} MB in {done.traffic.requests:,} requests{again}."
    )
    for address, reason in sorted(done.failures.items()):
        talk.warn(f"{address} was left out: {reason}")
