"""Where numbers go while something is learned: a CSV file, TensorBoard, or Weights & Biases, behind one word."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from whycell.errors import MissingExtraError, UsageError

__all__ = ["LOGGERS", "CsvLogger", "TensorBoardLogger", "WandbLogger", "open_logger"]


class CsvLogger:
    """Long table ``step, name, value`` in ``log.csv``, one line a value, flushed as it is written."""

    def __init__(self, folder: Path | str) -> None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self._stream = (path / "log.csv").open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._stream)
        if self._stream.tell() == 0:
            self._writer.writerow(["step", "name", "value"])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values at ``step``."""
        self._writer.writerows([step, name, repr(float(value))] for name, value in values.items())
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class TensorBoardLogger(CsvLogger):
    """The CSV file, and event files for TensorBoard beside it; needs the package ``tensorboard``."""

    def __init__(self, folder: Path | str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError(_missing("tensorboard")) from error
        super().__init__(folder)
        self._events: Any = SummaryWriter(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values at ``step`` to both."""
        super().log(step, values)
        for name, value in values.items():
            self._events.add_scalar(name, float(value), step)

    def close(self) -> None:
        """Close both."""
        self._events.close()
        super().close()


class WandbLogger(CsvLogger):
    """The CSV file, and a run of Weights & Biases; needs the package ``wandb``.

    Offline unless the environment says otherwise (``WANDB_MODE``): nothing leaves the machine unasked.
    """

    def __init__(self, folder: Path | str) -> None:
        import os

        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError(_missing("wandb")) from error
        super().__init__(folder)
        self._run: Any = wandb.init(
            project="whycell",
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            reinit="create_new",
            settings=wandb.Settings(silent=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values at ``step`` to both."""
        super().log(step, values)
        self._run.log({name: float(value) for name, value in values.items()}, step=step)

    def close(self) -> None:
        """Finish the run and close the file."""
        self._run.finish()
        super().close()


LOGGERS: dict[str, type[CsvLogger]] = {"csv": CsvLogger, "tensorboard": TensorBoardLogger, "wandb": WandbLogger}


def open_logger(name: str, folder: Path | str) -> CsvLogger:
    """The logger of that name, writing into ``folder``.

    Raises :class:`UsageError` for an unknown name and :class:`MissingExtraError` where its package is absent.
    """
    if name not in LOGGERS:
        msg = f"got logger {name!r}; wanted one of: {', '.join(LOGGERS)}"
        raise UsageError(msg)
    return LOGGERS[name](folder)


def _missing(package: str) -> str:
    return f"the logger {package!r} needs the package {package}; pip install 'whycell[track]', or log to csv"
