"""Who is held out when pairs are scored: genes, in the three settings of the field, frozen with a hash.

A pair of which both genes were seen in training is ranked well by how often each was seen; a split by pair therefore
flatters every method. In each round a share of the genes is held out with all their pairs. One model answers for all
three settings of the round: ``pair_new`` (pairs of training genes, drawn at random and held out), ``one_new`` (one gene
held out) and ``both_new`` (both held out).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whycell.errors import FormatError, GroupError

__all__ = ["SETTINGS", "PairRound", "PairSplit", "split_pairs"]

SETTINGS = ("pair_new", "one_new", "both_new")
_FORMAT = "whycell pair split 1"


@dataclass(frozen=True)
class PairRound:
    """One round.

    Parameters
    ----------
    name
        Of the round.
    train
        (k,) positions of the pairs to train on.
    tests
        Positions of the pairs to test on, by setting.
    """

    name: str
    train: np.ndarray
    tests: dict[str, np.ndarray]


@dataclass(frozen=True)
class PairSplit:
    """Genes held out in every round.

    Parameters
    ----------
    keys
        (n,) text of each pair, see ``data.pairs.pair_keys``.
    rounds
        The rounds.
    seed, folds, share
        Of the draw: parts that the genes are dealt into, and the share of training genes' pairs held out as
        ``pair_new``.
    """

    keys: np.ndarray
    rounds: tuple[PairRound, ...]
    seed: int
    folds: int
    share: float

    @property
    def hash(self) -> str:
        """``sha256:...`` of which pair is used how in each round."""
        digest = hashlib.sha256("\n".join(self.keys.astype(str)).encode())
        for part in self.rounds:
            digest.update(_roles(part, len(self.keys)).tobytes())
        return "sha256:" + digest.hexdigest()

    def save(self, path: Path | str) -> None:
        """Write the pairs and their role in each round (0 unused, 1 train, 2..4 the settings), with the hash."""
        content = {
            "format": _FORMAT,
            "hash": self.hash,
            "seed": self.seed,
            "folds": self.folds,
            "share": self.share,
            "pairs": [str(key) for key in self.keys],
            "rounds": {r.name: "".join(map(str, _roles(r, len(self.keys)))) for r in self.rounds},
        }
        Path(path).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> PairSplit:
        """Read what ``save`` wrote; an edited file no longer fits its hash and is refused."""
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            rounds = tuple(
                _round(name, np.frombuffer(roles.encode(), dtype=np.uint8) - ord("0"))
                for name, roles in stored["rounds"].items()
            )
            split = cls(np.array(stored["pairs"]), rounds, stored["seed"], stored["folds"], stored["share"])
            written = stored["hash"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            msg = f"{path} is not a split of pairs that whycell wrote ({type(error).__name__}); make it anew."
            raise FormatError(msg) from error
        if split.hash != written:
            msg = f"{path} was changed after it was written: its hash no longer fits its content; make it anew."
            raise FormatError(msg)
        return split


def _roles(part: PairRound, n: int) -> np.ndarray:
    roles = np.zeros(n, dtype=np.uint8)
    roles[part.train] = 1
    for i, setting in enumerate(SETTINGS):
        roles[part.tests[setting]] = 2 + i
    return roles


def _round(name: str, roles: np.ndarray) -> PairRound:
    tests = {setting: np.flatnonzero(roles == 2 + i) for i, setting in enumerate(SETTINGS)}
    return PairRound(name, np.flatnonzero(roles == 1), tests)


def split_pairs(
    first: np.ndarray,
    second: np.ndarray,
    *,
    keys: np.ndarray,
    folds: int = 5,
    repeats: int = 1,
    share: float = 0.2,
    seed: int = 0,
) -> PairSplit:
    """Deal the genes into ``folds`` parts, each held out once, and that ``repeats`` times over.

    Parameters
    ----------
    first, second
        (n,) codes of the genes, whole numbers from 0.
    keys
        (n,) text of each pair.
    folds
        Parts; with k, a k-th of the genes is new in each round and about 1 / k² of the pairs have both genes new.
    repeats
        Deals, each a new one.
    share
        Share of the pairs of training genes that are held out as ``pair_new``.
    seed
        Of the deals.

    Raises
    ------
    GroupError
        Fewer than 2 folds, or too few genes to fill them.
    """
    n_genes = int(max(first.max(), second.max())) + 1
    if folds < 2 or n_genes < 4 * folds:
        msg = (
            f"{folds} folds of {n_genes} genes were asked for; wanted 2 folds or more, and four genes or more in each."
        )
        raise GroupError(msg)
    rng = np.random.default_rng(seed)
    rounds = []
    for repeat in range(repeats):
        part = rng.permutation(n_genes) % folds
        for fold in range(folds):
            n_new = (part[first] == fold).astype(int) + (part[second] == fold)
            roles = np.array([1, 3, 4], dtype=np.uint8)[n_new]
            roles[(n_new == 0) & (rng.random(len(first)) < share)] = 2
            rounds.append(_round(f"{repeat + 1}.{fold + 1}", roles))
    return PairSplit(np.asarray(keys).astype(str), tuple(rounds), seed, folds, share)
