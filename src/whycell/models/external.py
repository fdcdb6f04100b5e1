"""A model that lives in another interpreter, such as CellTypist with its own scikit-learn.

It is trained and asked in one run of a script, ``PYTHON SCRIPT in.npz out.npz``. ``in.npz`` holds log-normalised cells
to learn from (``X_data, X_indices, X_indptr, shape``, ``y``) and to answer for (``T_data, T_indices, T_indptr,
n_test``), and ``genes``; ``out.npz`` must hold ``probabilities`` (n_test, k) and ``classes`` (k,). Nothing is
unpickled.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy import sparse

from whycell.errors import ModelError, UsageError
from whycell.models.baselines import Baseline

__all__ = ["CellTypist", "External"]

_LAST_LINES = 5


class External(Baseline):
    """A script in another interpreter as a baseline.

    Parameters
    ----------
    python, script
        The interpreter, and the script that it runs.
    timeout
        Seconds that one run may take.
    threshold, seed, threads
        As of every baseline; the script sees none of them.
    """

    name = "external"

    def __init__(
        self,
        *,
        python: str,
        script: str,
        timeout: float = 3600,
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        super().__init__(threshold=threshold, seed=seed, threads=threads)
        for what, path in (("python", python), ("script", script)):
            if not Path(path).is_file():
                msg = f"the {what} of the model {self.name!r} is {path!r}, which is no file; give its full path"
                raise UsageError(msg)
        self.python, self.script, self.timeout = python, script, timeout

    def _fit(self, X: sparse.csr_matrix, codes: np.ndarray) -> None:
        self._X, self._codes = X, codes

    def _proba(self, X: sparse.csr_matrix) -> np.ndarray:
        """Rows are divided by their sum: one-against-rest probabilities do not sum to one."""
        with tempfile.TemporaryDirectory() as folder:
            given, back = Path(folder) / "in.npz", Path(folder) / "out.npz"
            pairs = (("X", self._X), ("T", X))
            parts = {f"{k}_{part}": getattr(m, part) for k, m in pairs for part in ("data", "indices", "indptr")}
            y = self._codes.astype(str)
            genes = np.asarray(self.genes_, dtype=str)
            np.savez(given, y=y, genes=genes, shape=np.array(self._X.shape), n_test=X.shape[0], **parts)
            self._run(given, back)
            with np.load(back, allow_pickle=False) as found:
                probabilities, classes = found["probabilities"], found["classes"].astype(int)
        if probabilities.shape != (X.shape[0], len(classes)):
            msg = (
                f"{self.script} gave {probabilities.shape} probabilities for {X.shape[0]} cells, {len(classes)} classes"
            )
            raise ModelError(msg)
        full = np.zeros((X.shape[0], len(self.classes_)))
        full[:, classes] = probabilities
        return np.asarray(full / np.maximum(full.sum(axis=1, keepdims=True), 1e-30))

    def _run(self, given: Path, back: Path) -> None:
        command = [self.python, self.script, str(given), str(back)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=self.timeout)
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"{self.python} {self.script} did not finish: {error}"
            raise ModelError(msg) from error
        if done.returncode or not back.exists():
            said = " | ".join(done.stderr.strip().splitlines()[-_LAST_LINES:]) or "nothing"
            msg = f"{self.script} failed in {self.python} (exit {done.returncode}); it said: {said}"
            raise ModelError(msg)


class CellTypist(External):
    """CellTypist through its own interpreter; ``bench/peers/celltypist_worker.py`` is the script."""

    name = "celltypist"
