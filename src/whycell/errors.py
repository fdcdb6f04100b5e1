"""Every error that whycell raises, in one tree.

::

    WhycellError
    ├── DataError (ValueError)          what was given cannot be used
    │   ├── FormatError                 not a file we can read, or a damaged one
    │   ├── GeneError                   gene names unknown, or too few shared with the model
    │   ├── ExpressionError             the matrix holds something that is not expression
    │   ├── LabelError                  labels or ontology terms that cannot be used
    │   └── GroupError                  donor or study columns that cannot be used
    ├── ModelError (ValueError)         a saved model that is damaged, edited or foreign
    ├── OutputError (OSError)           an answer cannot be written where it was asked for
    ├── UsageError (ValueError)         asked in a way that has no answer
    └── MissingExtraError (ImportError) an optional package is needed and absent

A message says what was got, what was wanted, which one, and the cure.
"""

__all__ = [
    "DataError",
    "ExpressionError",
    "FormatError",
    "GeneError",
    "GroupError",
    "LabelError",
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "UsageError",
    "WhycellError",
]


class WhycellError(Exception):
    """Root of the tree: catch this to catch everything of ours."""


class DataError(WhycellError, ValueError):
    """What was given cannot be used."""


class FormatError(DataError):
    """Not a file we can read, or a damaged one."""


class GeneError(DataError):
    """Gene names are unknown, or too few are shared with the model."""


class ExpressionError(DataError):
    """The matrix holds something that is not gene expression."""


class LabelError(DataError):
    """Labels or ontology terms that cannot be used."""


class GroupError(DataError):
    """Donor or study columns that cannot be used."""


class ModelError(WhycellError, ValueError):
    """A saved model is damaged, edited or foreign."""


class OutputError(WhycellError, OSError):
    """An answer cannot be written where it was asked for."""


class UsageError(WhycellError, ValueError):
    """Asked in a way that has no answer."""


class MissingExtraError(WhycellError, ImportError):
    """An optional package is needed and absent."""
