"""Work for the tests of the engine, in a module that workers can import."""

import os
import signal
import time
from pathlib import Path


def square(number: int) -> int:
    if number < 0:
        msg = f"{number} is negative"
        raise ValueError(msg)
    return number * number


def die_once(task: tuple[int, str]) -> int:
    """Kills its own process the first time that item 7 comes along."""
    number, folder = task
    mark = Path(folder, "died")
    if number == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die_always(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def slow_and_marked(task: tuple[int, str]) -> int:
    number, folder = task
    Path(folder, f"{os.getpid()}").touch()
    time.sleep(0.05)
    return number * number


def blas_threads(_: int) -> list[int]:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return [pool["num_threads"] for pool in threadpool_info()]
