"""Training from a shuffled corpus, with bounded memory."""

from __future__ import annotations

from whycell.models.corpus_encoder import CorpusEncoder, corpus_encoder

__all__ = ["CorpusEncoder", "corpus_encoder"]
