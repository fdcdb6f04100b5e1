"""One gene, many names: Ensembl ids, symbols, earlier symbols, aliases, versions, species.

What a column of names holds is found by looking at the names, never at what the column is called. Each name goes
through these rules, and the first that answers is written down:

``id``
    An Ensembl id, with or without a version (``ENSG00000198851.12``), alone or inside a longer name.
``retired_id``
    A well-formed id that the table does not hold, from an older or newer release of Ensembl. It is kept as it is: two
    files that both use it still mean the same gene.
``symbol``
    The approved symbol, letter for letter: ``CD3E`` is human and ``Cd3e`` mouse, and neither is taken for the other.
``previous``, ``alias``
    A symbol that was official once; then one that never was. Only where it belongs to a single gene, and only where
    the file does not list that gene under its own name too (then the row must be another gene).
``ambiguous``
    Several genes answer to the name. It resolves to none.
``unknown``
    Nothing matched.

Prefixes of reference genomes (``GRCh38_CD3E``) and the dots that R puts for hyphens (``HLA.DRA``) are undone where the
name as written matches nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from whycell.errors import GeneError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SPECIES", "GeneMapping", "GeneTable", "resolve_genes", "symbol_of"]

SPECIES = ("human", "mouse")

_TABLES = Path(__file__).with_name("_tables")
_STEM = {"human": "ENSG", "mouse": "ENSMUSG"}
_ENSEMBL = re.compile(r"(?<![A-Za-z])(ENS[A-Z]{0,4}G)(\d{11})(?!\d)(\.\d+)?", re.IGNORECASE)
_GENOME = re.compile(r"^(?:GRC[hm]\d\d|hg\d\d|mm\d\d?)_+(?=.)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:\.0)?")
_MISSING = frozenset({"", "nan", "None", "<NA>"})

# Among words that are no genes, a few always happen to be the alias of one.
_CHANCE = 0.02
_NEARLY_ALL = 0.9

_OWN_NAME = ("id", "retired_id", "symbol")


@dataclass(frozen=True)
class GeneTable:
    """The genes of one species, as shipped with the package.

    Parameters
    ----------
    species
        ``"human"`` or ``"mouse"``.
    ids, symbols, biotypes
        (n_genes,) Ensembl ids, sorted; approved symbols, empty where there is none; Ensembl's biotypes.
    source
        The public tables this one was made from, with their releases.
    """

    species: str
    ids: np.ndarray
    symbols: np.ndarray
    biotypes: np.ndarray
    source: str
    _symbol_of: dict[str, str] = field(repr=False)
    _by_name: dict[str, tuple[str, str]] = field(repr=False)

    @classmethod
    def load(cls, species: str = "human") -> GeneTable:
        """The table of a species; read once, then kept.

        Raises
        ------
        GeneError
            There is no table of that species.
        """
        if species not in SPECIES:
            msg = f"There is no gene table of {species!r}; there is one of {' and of '.join(SPECIES)}."
            raise GeneError(msg)
        return _load(species)

    def find(self, name: str) -> tuple[str, str]:
        """The id and the rule of one name; the id is empty where the rule is "ambiguous" or "unknown"."""
        found = self._by_name.get(name) or self._by_name.get(name.partition(".")[0] if name[:3] == "ENS" else "")
        if found is None:
            found = self._find_id(name)
        if found is None and name not in _MISSING:
            bare = _GENOME.sub("", name)
            found = self._by_name.get(bare) or self._by_name.get(bare.replace(".", "-"))
        return found or ("", "unknown")

    def symbol(self, id_: str) -> str:
        """The approved symbol of an id; the id itself where it has none."""
        return self._symbol_of.get(id_) or id_

    def biotype(self, id_: str) -> str:
        """Ensembl's biotype of an id ("protein_coding", "lncRNA"); empty for one the table does not hold."""
        row = int(np.searchsorted(self.ids, id_))
        return str(self.biotypes[row]) if row < len(self.ids) and self.ids[row] == id_ else ""

    def _find_id(self, name: str) -> tuple[str, str] | None:
        match = _ENSEMBL.search(name)
        if match is None or match[1].upper() != _STEM[self.species]:
            return None
        id_ = match[1].upper() + match[2]
        return id_, "id" if id_ in self._symbol_of else "retired_id"


@dataclass(frozen=True)
class GeneMapping:
    """What the names of a file's genes were resolved to.

    Parameters
    ----------
    names
        (n,) the names as given.
    ids
        (n,) the stable Ensembl id of each, without version; empty where unresolved.
    rules
        (n,) the rule of each, one of the words that the module describes.
    naming
        What the names are: ``"ensembl"``, ``"ensembl_versioned"``, ``"symbol"``, ``"mixed"`` (ids and symbols),
        ``"numbers"`` or ``"unknown"``.
    species
        ``"human"`` or ``"mouse"``; ``"other"`` for ids of another species and ``"unknown"`` where the names do not say.
    """

    names: np.ndarray
    ids: np.ndarray
    rules: np.ndarray
    naming: str
    species: str

    @property
    def share_resolved(self) -> float:
        """Share of the names, in [0, 1], that have an id."""
        return float(np.mean(self.ids != "")) if len(self.ids) else 0.0

    @property
    def duplicates(self) -> list[str]:
        """Ids that several names resolve to, sorted."""
        return sorted(id_ for id_, n in Counter(self.ids.tolist()).items() if n > 1 and id_)

    def filled_from(self, other: GeneMapping) -> GeneMapping:
        """These ids, and where they say nothing or are retired, those of another column of the same rows.

        Parameters
        ----------
        other
            The mapping of, say, the symbols beside a column of ids. A row takes its answer only where that is by
            approved symbol and no other row has the gene already; its rule becomes "symbol".

        Raises
        ------
        GeneError
            The two are not of the same rows, or not of the same species.
        """
        if len(other.ids) != len(self.ids) or other.species != self.species:
            msg = (
                f"Cannot fill {len(self.ids)} {self.species} genes from {len(other.ids)} {other.species} ones: "
                "both must be columns of one table."
            )
            raise GeneError(msg)
        open_ = np.isin(self.rules, ["retired_id", "ambiguous", "unknown"])
        taken = np.unique(self.ids[~open_])
        better = open_ & (other.rules == "symbol") & ~np.isin(other.ids, [*taken, *other.duplicates])
        return replace(self, ids=np.where(better, other.ids, self.ids), rules=np.where(better, other.rules, self.rules))

    def symbols(self) -> np.ndarray:
        """(n,) approved symbol of each gene; its id where it has no symbol, its own name where it has no id."""
        symbols = symbol_of(self.ids.tolist())
        return np.array([s or name for s, name in zip(symbols, self.names.tolist(), strict=True)], dtype=str)

    def counts(self) -> dict[str, int]:
        """How many names each rule resolved, most first."""
        return dict(Counter(self.rules.tolist()).most_common())

    def frame(self) -> pd.DataFrame:
        """One row a name: ``name, id, symbol, rule``."""
        import pandas as pd

        return pd.DataFrame({"name": self.names, "id": self.ids, "symbol": self.symbols(), "rule": self.rules})


def resolve_genes(names: Iterable[object], *, species: str | None = None) -> GeneMapping:
    """Resolve names of genes, whatever their kind, to stable Ensembl ids.

    Parameters
    ----------
    names
        Index or column of a file's ``var``; anything else than text is read through ``str``.
    species
        ``"human"`` or ``"mouse"``; ``None`` takes the one whose table resolves more of the names.

    Raises
    ------
    GeneError
        There is no table of that species.

    Examples
    --------
    >>> from whycell.knowledge.genes import resolve_genes
    >>> found = resolve_genes(["CD3E", "MLL", "ENSG00000156738.18", "HLA.DRA", "nonsense"])
    >>> found.species, found.rules.tolist()
    ('human', ['symbol', 'previous', 'id', 'symbol', 'unknown'])
    >>> found.symbols().tolist()
    ['CD3E', 'KMT2A', 'MS4A1', 'HLA-DRA', 'nonsense']
    """
    texts = [str(name).strip() for name in names]
    ids_given = [match for text in texts if text[:3].upper() == "ENS" and (match := _ENSEMBL.match(text))]
    stems = Counter(match[1].upper() for match in ids_given)
    chosen, pairs = _best_table(texts, SPECIES if species is None else (species,))
    n_resolved = sum(1 for id_, _ in pairs if id_)

    rules = np.array([rule for _, rule in pairs], dtype=str)
    return GeneMapping(
        names=np.array(texts, dtype=str),
        ids=np.array([id_ for id_, _ in pairs], dtype=str),
        rules=rules,
        naming=_naming(texts, rules, n_ids=len(ids_given), n_versioned=sum(1 for match in ids_given if match[3])),
        species=species or _species(chosen, n=len(texts), n_resolved=n_resolved, stems=stems),
    )


def symbol_of(ids: Iterable[str]) -> list[str]:
    """Approved symbol of each id, human or mouse; an id without one, or unknown, stands for itself.

    Examples
    --------
    >>> symbol_of(["ENSG00000198851", "ENSMUSG00000032093", "ENSG00000290825", ""])
    ['CD3E', 'Cd3e', 'DDX11L16', '']
    """
    human, mouse = GeneTable.load("human"), None
    symbols = []
    for id_ in ids:
        if id_.startswith(_STEM["mouse"]):
            mouse = mouse or GeneTable.load("mouse")
            symbols.append(mouse.symbol(id_))
        else:
            symbols.append(human.symbol(id_))
    return symbols


def _resolve(texts: list[str], table: GeneTable) -> list[tuple[str, str]]:
    found = [table.find(text) for text in texts]
    # A file lists each gene once. Where one row carries a gene's own name, a row with an old name of it is another
    # gene, which the file's annotation knew apart: adding the two up would be wrong.
    own = {id_ for id_, rule in found if rule in _OWN_NAME}
    return [("", "ambiguous") if rule in ("previous", "alias") and id_ in own else (id_, rule) for id_, rule in found]


def _best_table(texts: list[str], candidates: Iterable[str]) -> tuple[str, list[tuple[str, str]]]:
    """The species that resolves most of the names, and what they resolve to there."""
    best, best_pairs, most = "", [], -1
    for species in candidates:
        pairs = _resolve(texts, GeneTable.load(species))
        n_own = sum(1 for _, rule in pairs if rule in _OWN_NAME)
        if n_own > most:
            best, best_pairs, most = species, pairs, n_own
        if 2 * n_own > len(texts):
            break  # ids and symbols differ by species: no other table can hold more of these names than this one
    return best, best_pairs


def _naming(texts: list[str], rules: np.ndarray, *, n_ids: int, n_versioned: int) -> str:
    n = len(texts)
    n_symbols = int(np.isin(rules, ["symbol", "previous", "alias", "ambiguous"]).sum())
    if n and sum(1 for text in texts if _NUMBER.fullmatch(text)) >= _NEARLY_ALL * n:
        return "numbers"
    if n_ids < _NEARLY_ALL * n and min(n_ids, n_symbols) >= _CHANCE * n:
        return "mixed"
    if n_ids > n_symbols:
        return "ensembl_versioned" if 2 * n_versioned > n_ids else "ensembl"
    return "symbol" if n_symbols > _CHANCE * n else "unknown"


def _species(best: str, *, n: int, n_resolved: int, stems: Counter[str]) -> str:
    n_foreign = sum(count for stem, count in stems.items() if stem not in _STEM.values())
    if n_foreign > n_resolved:
        return "other"
    return best if n_resolved > _CHANCE * n else "unknown"


@cache
def _load(species: str) -> GeneTable:
    import pyarrow.parquet as pq

    # ParquetFile, not read_table: the latter loads pyarrow's dataset machinery, which takes longer than the reading.
    genes = pq.ParquetFile(_TABLES / f"genes_{species}.parquet").read(use_threads=False)
    others = pq.ParquetFile(_TABLES / f"names_{species}.parquet").read(use_threads=False)
    ids, symbols = genes["id"].to_pylist(), genes["symbol"].to_pylist()
    by_name = {
        name: (id_, kind)
        for name, id_, kind in zip(*(others[c].to_pylist() for c in ("name", "id", "kind")), strict=True)
    }
    by_name.update((id_, (id_, "id")) for id_ in ids)
    by_name.update((symbol, ("", "ambiguous")) for symbol in symbols if symbol)
    primary = zip(ids, symbols, genes["primary"].to_pylist(), strict=True)
    by_name.update((symbol, (id_, "symbol")) for id_, symbol, is_primary in primary if is_primary)
    return GeneTable(
        species=species,
        ids=np.array(ids, dtype=str),
        symbols=np.array(symbols, dtype=str),
        biotypes=np.array(genes["biotype"].to_pylist(), dtype=str),
        source=(genes.schema.metadata or {}).get(b"source", b"").decode(),
        _symbol_of=dict(zip(ids, symbols, strict=True)),
        _by_name=by_name,
    )
