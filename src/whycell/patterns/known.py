"""Known motifs: read from MEME files, and which of them a discovered one is (TOMTOM, Gupta et al. 2007).

TOMTOM compares columns one by one, and a column that says nothing fits every other that says nothing: a long weak
pattern then matches flanks of known motifs with small p. A match must therefore also agree in what is said: letter
shares, less a quarter, correlate over the overlap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.errors import FormatError, MissingExtraError
from whycell.results.motifs import Motif

__all__ = ["KnownMotif", "match_known", "read_meme"]

_HEADER = re.compile(r"letter-probability matrix:.*?\bw=\s*(\d+)")
_LEAST_LIKENESS = 0.7
_TRIED = 4  # times as many of the best by p are looked at as are told
_MOST_OFF = 0.05  # a row of shares that misses one by more than this is no row of shares


@dataclass(frozen=True)
class KnownMotif:
    """A motif of a collection.

    Parameters
    ----------
    id, name
        ``"MA0093.2"`` and ``"USF1"``; the name is the id where the file gives none.
    letters
        (4, width) share of each letter.
    """

    id: str
    name: str
    letters: np.ndarray


def read_meme(path: Path | str) -> list[KnownMotif]:
    """Motifs of a file in MEME's minimal format.

    Raises
    ------
    FormatError
        No motif, or a matrix that is cut off or holds no shares.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read ({error}); wanted motifs in MEME format."
        raise FormatError(msg) from error
    found, named, at = [], ("", ""), 0
    while at < len(lines):
        line = lines[at].strip()
        if line.startswith("MOTIF"):
            words = line.split()
            named = (words[1], words[2] if len(words) > 2 else words[1]) if len(words) > 1 else ("", "")
        header = _HEADER.match(line)
        if header:
            width = int(header[1])
            found.append(KnownMotif(*named, _matrix(path, named[0], lines[at + 1 : at + 1 + width], width)))
            at += width
        at += 1
    if not found:
        msg = f"{path} holds no motif; wanted MEME format, with MOTIF lines and letter-probability matrices."
        raise FormatError(msg)
    return found


def match_known(motifs: Sequence[Motif], known: Sequence[KnownMotif], *, most: int = 5) -> pd.DataFrame:
    """The known motifs that each discovered one is most like.

    Parameters
    ----------
    motifs, known
        Discovered, and of a collection.
    most
        Rows a motif.

    Returns
    -------
    One row a pair, best first: ``motif``, ``known``, ``name``, ``p``, ``q`` (Benjamini and Hochberg over the
    collection), ``offset`` (letters of the known one before the discovered one's first) and ``strand`` of the known
    one, and ``likeness``: correlation of letter shares over the overlap, 0.7 at least.

    Raises
    ------
    MissingExtraError
        memelite is not installed.
    """
    columns = ["motif", "known", "name", "p", "q", "offset", "strand", "likeness"]
    if not motifs or not known:
        return pd.DataFrame(columns=columns)
    try:
        from memelite import tomtom
    except ImportError as error:
        msg = "matching to known motifs needs memelite; install it with: pip install 'whycell[dna]'"
        raise MissingExtraError(msg) from error
    from scipy.stats import false_discovery_control

    queries = [np.ascontiguousarray(m.letters, dtype=np.float64) for m in motifs]
    targets = [np.ascontiguousarray(k.letters, dtype=np.float64) for k in known]
    p, _, offsets, _, strands = (np.asarray(part) for part in tomtom(queries, targets))
    rows = []
    for at, motif in enumerate(motifs):
        q = false_discovery_control(np.clip(p[at], 0, 1))
        agreed = 0
        for best in np.argsort(p[at], kind="stable")[: _TRIED * most]:
            strand = "-" if strands[at, best] else "+"
            letters = known[best].letters[::-1, ::-1] if strand == "-" else known[best].letters
            close = _overlapping(motif.letters, letters, int(offsets[at, best]))
            if close >= _LEAST_LIKENESS and agreed < most:
                agreed += 1
                pair = (motif.name, known[best].id, known[best].name)
                rows.append((*pair, p[at, best], q[best], int(offsets[at, best]), strand, close))
    return pd.DataFrame(rows, columns=columns)


def _overlapping(motif: np.ndarray, known: np.ndarray, before: int) -> float:
    """Correlation of letter shares where they overlap; the known one starts ``before`` letters before the motif."""
    first, last = max(0, -before), min(motif.shape[1], known.shape[1] - before)
    if last <= first:
        return 0.0
    a, b = motif[:, first:last] - 0.25, known[:, first + before : last + before] - 0.25
    return float((a * b).sum() / max(np.sqrt((a**2).sum() * (b**2).sum()), 1e-12))


def _matrix(path: Path | str, name: str, lines: Sequence[str], width: int) -> np.ndarray:
    try:
        rows = np.array([[float(word) for word in line.split()] for line in lines])
    except ValueError:
        rows = np.empty(0)
    if rows.shape != (width, 4) or (np.abs(rows.sum(axis=1) - 1) > _MOST_OFF).any():
        msg = f"the matrix of {name!r} in {path} is not {width} rows of four shares that add up to one: it is cut off."
        raise FormatError(msg)
    shares: np.ndarray = rows.T / rows.sum(axis=1)
    return shares
