"""DNA as numbers: one-hot letters, and the references that a sequence is compared with.

A sequence is four rows, A C G T, and one column a position; an unknown base (N) is a column of zeros.

*Dinucleotide shuffles* keep how often each letter follows each other, and both ends: what is left of a sequence when
its motifs are gone. A sequence is a walk along the edges of a graph whose vertices are letters, and its shuffles are
the Eulerian paths of that graph. They are drawn **uniformly**: Wilson's algorithm (STOC 1996) gives a uniform
arborescence towards the last letter, whose edges are the last to leave each letter; the edges that remain leave in
random order. By the BEST theorem (van Aardenne-Ehrenfest and de Bruijn 1951) every path then has the same probability;
this is the shuffle of Altschul and Erickson (Molecular Biology and Evolution 1985), with their rejection step replaced.

Shuffles that keep each letter's last edge as it stands in the sequence (deeplift 0.6, tangermeme 1.6) reach only some
of the paths: ACGTACAGT has four, of which the first returns one every time, and the second refuses the sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np

from whycell.errors import DataError, UsageError

__all__ = [
    "LETTERS",
    "compiled",
    "composition_background",
    "dinucleotide_shuffle",
    "from_one_hot",
    "gc_background",
    "one_hot",
    "one_hot_of",
]

#: The rows of a one-hot sequence.
LETTERS = "ACGT"
_UNKNOWN = 4
_NO_LETTER = 255


def _code_table() -> np.ndarray:
    table = np.full(256, _NO_LETTER, dtype=np.uint8)
    for code, letter in enumerate(LETTERS + "N"):
        table[ord(letter)] = table[ord(letter.lower())] = code
    return table


_CODES = _code_table()


def compiled(function: Callable[..., Any]) -> Any:
    """Compile ``function`` on first use, kept on disk where some folder may be written; nothing is relaxed."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # an installation that may not be written, and no cache folder for this user
        return numba.njit(nogil=True)(function)


def one_hot(sequences: Sequence[str]) -> np.ndarray:
    """Letters to four rows, A C G T.

    Parameters
    ----------
    sequences
        Of one length, in upper or lower case; N where a base is unknown.

    Returns
    -------
    (n, 4, length) float32, ones and zeros; a column of zeros where the base is unknown.

    Raises
    ------
    DataError
        Lengths differ, or a letter is none of A, C, G, T, N.

    Examples
    --------
    >>> one_hot(["ACn"])[0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    return one_hot_of(_letters(sequences))


def one_hot_of(codes: np.ndarray, *, dtype: Any = np.float32) -> np.ndarray:
    """Letters that are numbers already, to four rows.

    Parameters
    ----------
    codes
        (n, length) uint8: 0 to 3 for A, C, G and T, 4 for an unknown base.
    dtype
        Of what is returned: (n, 4, length) ones and zeros.
    """
    return np.asarray(codes[:, None, :] == np.arange(len(LETTERS), dtype=np.uint8)[:, None], dtype=dtype)


def from_one_hot(x: Any) -> list[str]:
    """The sequences that ``x`` (n, 4, length) stands for, N where a column is zero; :func:`one_hot` turned round."""
    alphabet = np.frombuffer((LETTERS + "N").encode(), dtype=np.uint8)
    return [alphabet[row].tobytes().decode() for row in _codes_of(x)]


def dinucleotide_shuffle(x: Any, k: int, *, seed: int) -> np.ndarray:
    """Shuffles that keep the count of every dinucleotide and both ends, drawn uniformly over all there are.

    An unknown base counts as a fifth letter. What a sequence gets depends on its letters and on ``seed`` alone: not on
    the others given with it, nor on ``k`` (of 20 shuffles the first 5 are those that ``k=5`` gives). The sequence
    itself is among the paths: one that has no other is returned as it is.

    Parameters
    ----------
    x
        (n, 4, length) one-hot, as :func:`one_hot` makes it.
    k
        Shuffles of each; 20 are usual as references of DeepLIFT.

    Returns
    -------
    (n, k, 4, length) float32.

    Raises
    ------
    DataError
        ``x`` is not one-hot.
    UsageError
        ``k`` is less than one.
    """
    if k < 1:
        msg = f"k={k}: wanted at least one shuffle of each sequence"
        raise UsageError(msg)
    codes = _codes_of(x)
    shuffled = np.zeros((len(codes), k, len(LETTERS), codes.shape[1]), dtype=np.float32)
    if codes.shape[1]:
        _shuffle_codes(codes, np.uint64(seed % 2**64), shuffled)
    return shuffled


def composition_background(x: Any) -> np.ndarray:
    """Each sequence's own letter frequencies at every position: a reference without any order.

    Parameters
    ----------
    x
        (n, 4, length) one-hot; unknown bases are not counted.

    Returns
    -------
    (n, 4, length) float32; columns sum to one. A sequence without a known base gets a quarter of each letter.
    """
    return _flat(_frequencies(x), np.shape(x))


def gc_background(x: Any) -> np.ndarray:
    """Each sequence's own share of G and C at every position, the same on both strands: C = G and A = T.

    Parameters
    ----------
    x
        (n, 4, length) one-hot; unknown bases are not counted.

    Returns
    -------
    (n, 4, length) float32; columns sum to one. A sequence without a known base gets a quarter of each letter.
    """
    frequencies = _frequencies(x)
    return _flat((frequencies + frequencies[:, ::-1]) / 2, np.shape(x))


def _frequencies(x: Any) -> np.ndarray:
    codes = _codes_of(x)
    counts = np.stack([(codes == letter).sum(axis=1) for letter in range(len(LETTERS))], axis=1).astype(np.float64)
    known = counts.sum(axis=1, keepdims=True)
    return np.where(known > 0, counts / np.maximum(known, 1), 1 / len(LETTERS))


def _flat(frequencies: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.repeat(frequencies[:, :, None].astype(np.float32), shape[2], axis=2)


def _letters(sequences: Sequence[str]) -> np.ndarray:
    """(n, length) uint8: 0 to 3 for A C G T, 4 for N."""
    if isinstance(sequences, str):
        msg = "got one string: wanted a list of sequences; put it in brackets"
        raise DataError(msg)
    lengths = {len(sequence) for sequence in sequences}
    if len(lengths) > 1:
        msg = f"sequences of {min(lengths)} to {max(lengths)} letters: wanted one length; cut them or pad them with N"
        raise DataError(msg)
    length = lengths.pop() if lengths else 0
    # Letters beyond ASCII become a question mark, which is none of ours either.
    text = "".join(sequences).encode("ascii", errors="replace")
    codes = _CODES[np.frombuffer(text, dtype=np.uint8)].reshape(len(sequences), length)
    if (codes == _NO_LETTER).any():
        row, at = (int(each[0]) for each in np.nonzero(codes == _NO_LETTER))
        msg = f"{sequences[row][at]!r} at position {at} of sequence {row}: wanted A, C, G, T or N"
        raise DataError(msg)
    return codes


def _codes_of(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 3 or x.shape[1] != len(LETTERS):
        msg = f"an array of shape {x.shape}: wanted (n, 4, length) with a row for each of A, C, G, T; see one_hot"
        raise DataError(msg)
    ones = (x == 1).sum(axis=1)
    if ((x != 0) & (x != 1)).any() or (ones > 1).any():
        msg = "a column that is not one letter: wanted a single one, or zeros for an unknown base; see one_hot"
        raise DataError(msg)
    return np.where(ones == 1, x.argmax(axis=1), _UNKNOWN).astype(np.uint8)


@compiled
def _shuffle_codes(codes: Any, seed: Any, out: Any) -> None:
    """One-hot shuffles of ``codes`` (n, length) into ``out`` (n, k, 4, length), which holds zeros."""
    n, length = codes.shape
    successors = np.empty(length, dtype=np.uint8)
    order = np.empty(length, dtype=np.uint8)
    starts = np.empty(6, dtype=np.int64)
    used = np.empty(5, dtype=np.int64)
    last = np.empty(5, dtype=np.int64)
    in_tree = np.empty(5, dtype=np.bool_)
    state = np.empty(1, dtype=np.uint64)
    for i in range(n):
        stream = _mixed(seed)
        for letter in codes[i]:
            stream = _mixed(stream ^ np.uint64(letter))
        _list_successors(codes[i], starts, used, successors)
        for j in range(out.shape[1]):
            state[0] = _mixed(stream ^ np.uint64(j))
            order[:] = successors
            _draw_arborescence(order, starts, codes[i, length - 1], state, last, in_tree)
            for letter in range(5):
                first, stop = starts[letter], starts[letter + 1]
                if last[letter] >= 0:
                    stop -= 1
                    order[last[letter]], order[stop] = order[stop], order[last[letter]]
                for at in range(stop - 1, first, -1):
                    other = first + _below(at - first + 1, state)
                    order[at], order[other] = order[other], order[at]
                used[letter] = first
            letter = codes[i, 0]
            for at in range(length):
                if letter < 4:
                    out[i, j, letter, at] = 1
                if at < length - 1:
                    used[letter] += 1
                    letter = order[used[letter] - 1]


@compiled
def _list_successors(letters: Any, starts: Any, used: Any, successors: Any) -> None:
    """What follows each letter, letter after letter; those of ``v`` lie in ``starts[v]:starts[v + 1]``."""
    starts[:] = 0
    for at in range(len(letters) - 1):
        starts[letters[at] + 1] += 1
    for letter in range(5):
        starts[letter + 1] += starts[letter]
        used[letter] = starts[letter]
    for at in range(len(letters) - 1):
        successors[used[letters[at]]] = letters[at + 1]
        used[letters[at]] += 1


@compiled
def _draw_arborescence(order: Any, starts: Any, root: int, state: Any, last: Any, in_tree: Any) -> None:
    """Wilson's: walk at random until the tree is met; the way last left each letter, without its loops, joins it."""
    last[:] = -1
    in_tree[:] = False
    in_tree[root] = True
    for begin in range(5):
        if starts[begin] == starts[begin + 1]:
            continue
        letter = begin
        while not in_tree[letter]:
            last[letter] = starts[letter] + _below(starts[letter + 1] - starts[letter], state)
            letter = order[last[letter]]
        letter = begin
        while not in_tree[letter]:
            in_tree[letter] = True
            letter = order[last[letter]]


@compiled
def _mixed(z: Any) -> Any:
    """The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) after one step of its counter."""
    z = np.uint64(z) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def _below(n: int, state: Any) -> Any:
    """A random whole number in 0..n-1; off uniform by at most n / 2^32."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    return np.int64(((_mixed(state[0]) >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32))
