"""Where work runs, and how it speaks while it works."""

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, Protocol, TypeVar

from whycell.errors import MissingExtraError, UsageError, WhycellError

__all__ = ["Engine", "Outcome", "Step", "Talk", "in_order", "n_threads"]

Item = TypeVar("Item")
Done = TypeVar("Done")

_TRIES = 2  # deaths of a worker, before its items go out alone, and with one alone before that is blamed
_SINGLE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_FORMS = "here, local:4, dask:tcp://host:8786 or slurm:jobs=8,cores=4,memory=16GB"


def n_threads(threads: int = 0) -> int:
    """Number of threads to use; 0 means every core this process may run on."""
    if threads > 0:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def in_order(work: Callable[[Item], Done], items: Iterable[Item], *, threads: int = 0) -> Iterator[Done]:
    """``work`` of every item, in their order; several at once, few waiting: memory does not grow with the items.

    One core a matrix product: the items are the parallel part, and sums are rounded the same way everywhere.
    """
    from threadpoolctl import threadpool_limits

    workers = n_threads(threads)
    waiting: deque[Future[Done]] = deque()
    with threadpool_limits(limits=1), ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Talk:
    """What a job says while it works. This one is silent; the command line hands in one that prints to stderr."""

    def note(self, text: str) -> None:
        """Say one sentence."""

    def warn(self, text: str) -> None:
        """Say one sentence that the reader should not miss."""

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator["Step"]:
        """Show a bar while the block runs; ``total`` in the unit that ``Step.advance`` counts."""
        yield Step()


class Step:
    """A bar that goes nowhere; ``Talk.progress`` of the command line yields one that draws."""

    def advance(self, n: int = 1) -> None:
        """``n`` more units are done."""


@dataclass(frozen=True)
class Outcome(Generic[Item, Done]):
    """What became of one item.

    Parameters
    ----------
    item
        As it was given.
    value
        What the work returned; ``None`` where it failed.
    error
        What the work raised, or that its worker died with it every time; ``None`` where all is well.
    """

    item: Item
    value: Done | None = None
    error: Exception | None = None

    def get(self) -> Done:
        """The value; raises the error where there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Engine:
    """Maps a function over items: in this process, over local processes, or over a Dask cluster.

    Every worker multiplies matrices on one core, because the items are the parallel part. Work that dies with its
    worker is done again, so it must be harmless to do twice. Items and results travel between processes: give paths
    and return what is small.

    Parameters
    ----------
    executor
        ``"here"``: in this process. ``"local:N"``: N processes of this machine; ``"local"`` takes every core.
        ``"dask:ADDRESS"``: the Dask cluster whose scheduler listens there. ``"slurm:KEY=VALUE,..."``: jobs of a Slurm
        cluster, started through dask-jobqueue, whose words the keys are (``cores``, ``memory``, ``queue``,
        ``walltime``, ...), and ``jobs``, how many.
    shard
        ``"i/n"``: of n runs of the same command, this is the i-th, counted from 1; empty for the only one.

    Raises
    ------
    UsageError
        Where ``executor`` or ``shard`` is not of these forms.
    """

    def __init__(self, executor: str = "here", *, shard: str = "") -> None:
        self.executor = executor
        self._kind, _, self._where = executor.partition(":")
        self._shard, self._shards = _read_shard(shard)
        known = {"here": self._where == "", "local": True, "dask": self._where != "", "slurm": True}
        if not known.get(self._kind, False):
            msg = f"Got the executor {executor!r}; wanted {_FORMS}."
            raise UsageError(msg)
        if self._kind == "local":
            self._workers = n_threads(_whole(self._where or "0", executor))

    def share(self, items: Iterable[Item], *, key: Callable[[Item], str] = str) -> list[Item]:
        """Those of the items that fall to this shard.

        Who does what depends on each item alone, not on its place among the others: array jobs that list a bucket at
        different moments still agree.

        Parameters
        ----------
        items
            All of them.
        key
            The text by which an item is told from others.
        """
        if self._shards == 1:
            return list(items)
        return [item for item in items if _spread(key(item)) % self._shards == self._shard - 1]

    def map(
        self, work: Callable[[Item], Done], items: Iterable[Item], *, at_once: int = 1
    ) -> Iterator[Outcome[Item, Done]]:
        """``work`` of every item, each answered once, in the order in which they are done.

        Parameters
        ----------
        work
            A function of one item; for other processes one that can be sent there by name.
        items
            What it is called with.
        at_once
            Items that one worker has in hand at the same time, in threads: more than 1 for work that waits for a
            network.

        Yields
        ------
        Outcome
        """
        given = list(items)
        if self._kind == "here":
            yield from _in_threads(work, given, at_once)
            return
        crew = self._crew(len(given))
        try:
            yield from _with_crew(crew, work, given, at_once)
        finally:
            crew.close()

    def _crew(self, n_items: int) -> "_Crew":
        if self._kind == "local":
            return _Processes(max(1, min(self._workers, n_items)))
        return _Dask(self._kind, self._where)


class _Crew(Protocol):
    """Workers that take calls, and may die with them."""

    size: int
    dead: tuple[type[BaseException], ...]

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Any: ...
    def landed(self, waiting: Collection[Any]) -> Iterable[Any]: ...
    def renew(self) -> None: ...
    def close(self) -> None: ...


class _Processes:
    """Processes of this machine, through joblib's loky: unlike the standard pool it tells when one was killed."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Not every broken pool: where the work cannot be sent to a process, another process will not help.
        self.dead: tuple[type[BaseException], ...] = (
            import_module("joblib.externals.loky.process_executor").TerminatedWorkerError,
        )
        self.renew()

    def renew(self) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        alone = dict.fromkeys(_SINGLE_THREAD, "1")
        self._pool = ProcessPoolExecutor(max_workers=self.size, timeout=60, env=alone)

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self._pool.submit(call, *arguments)
        except self.dead as error:
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken

    def landed(self, waiting: Collection[Any]) -> Iterable[Any]:
        return wait(waiting, return_when=FIRST_COMPLETED).done

    def close(self) -> None:
        self._pool.shutdown(wait=True, kill_workers=True)


class _Dask:
    """A Dask cluster: one that runs already, or jobs of Slurm that are started for this."""

    def __init__(self, kind: str, where: str) -> None:
        try:
            distributed = import_module("distributed")
        except ImportError as error:
            msg = f"The executor {kind}: needs Dask; install it with: pip install 'whycell[cluster]'"
            raise MissingExtraError(msg) from error
        self._distributed = distributed
        self.dead: tuple[type[BaseException], ...] = (distributed.KilledWorker,)
        self._cluster = _slurm(where) if kind == "slurm" else None
        try:
            self._client = distributed.Client(self._cluster or where, timeout=15)
        except (OSError, ValueError) as error:
            msg = f"No Dask scheduler answers at {where!r}; give its address as in dask:tcp://host:8786."
            raise UsageError(msg) from error
        self._client.wait_for_workers(1)
        self._same_version()
        self.size = max(1, sum(self._client.nthreads().values()))

    def _same_version(self) -> None:
        """Workers without whycell would never answer, and those with another one differently."""
        ours = version("whycell")
        try:
            theirs = set(self._client.run(version, "whycell").values())
        except PackageNotFoundError:
            theirs = set()
        if theirs != {ours}:
            self.close()
            got = f"whycell {', '.join(sorted(theirs))}" if theirs else "no whycell"
            msg = f"The workers of the cluster have {got}; install whycell {ours} there."
            raise UsageError(msg)

    def renew(self) -> None:
        """Nothing: the scheduler starts or finds other workers."""

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return self._client.submit(call, *arguments, pure=False)

    def landed(self, waiting: Collection[Any]) -> Iterable[Any]:
        landed: set[Any] = self._distributed.wait(list(waiting), return_when="FIRST_COMPLETED").done
        return landed

    def close(self) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _with_crew(
    crew: _Crew, work: Callable[[Item], Done], items: Sequence[Item], at_once: int
) -> Iterator[Outcome[Item, Done]]:
    """Hand out parcels, few ahead: a worker that dies may take with it all that was handed out."""
    left = deque((parcel, 0) for parcel in _parcels(items, crew.size, at_once))
    waiting: dict[Any, tuple[Sequence[Item], int]] = {}
    suspects: list[Item] = []
    while left or waiting:
        while left and len(waiting) < 2 * crew.size:
            parcel, deaths = left.popleft()
            waiting[crew.submit(_parcel, work, parcel, at_once)] = parcel, deaths
        broken = False
        for future in crew.landed(waiting.keys()):
            parcel, deaths = waiting.pop(future)
            try:
                done = future.result()
            except crew.dead:
                broken = True
                if deaths + 1 < _TRIES:
                    left.extendleft((part, deaths + 1) for part in _halves(parcel))
                else:
                    suspects += parcel
                continue
            yield from done
        if broken:
            crew.renew()
    for item in suspects:
        yield _alone(crew, work, item)


def _halves(parcel: Sequence[Item]) -> list[Sequence[Item]]:
    middle = len(parcel) // 2
    return [part for part in (parcel[:middle], parcel[middle:]) if part]


def _alone(crew: _Crew, work: Callable[[Item], Done], item: Item) -> Outcome[Item, Done]:
    for _ in range(_TRIES):
        future = crew.submit(_parcel, work, [item], 1)
        list(crew.landed([future]))
        try:
            outcome: Outcome[Item, Done] = future.result()[0]
        except crew.dead:
            crew.renew()
        else:
            return outcome
    msg = f"The worker died {_TRIES} times with this item alone in hand: out of memory, or the file crashes its reader."
    return Outcome(item, error=WhycellError(msg))


def _parcels(items: Sequence[Item], workers: int, at_once: int) -> Iterator[Sequence[Item]]:
    """One item a parcel; where several are in hand at once, about twice as many, the same number for each worker."""
    size = 1
    if at_once > 1:
        rounds = max(1, round(len(items) / (2 * at_once * workers)))
        size = max(1, math.ceil(len(items) / (rounds * workers)))
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _parcel(work: Callable[[Item], Done], items: Sequence[Item], at_once: int) -> list[Outcome[Item, Done]]:
    """What a worker does."""
    return list(_in_threads(work, items, at_once))


def _in_threads(work: Callable[[Item], Done], items: Sequence[Item], at_once: int) -> Iterator[Outcome[Item, Done]]:
    from threadpoolctl import threadpool_limits

    def one(item: Item) -> Outcome[Item, Done]:
        try:
            return Outcome(item, work(item))
        except Exception as error:
            return Outcome(item, error=error)

    with threadpool_limits(limits=1):
        if at_once == 1 or len(items) == 1:
            yield from map(one, items)
            return
        pool = ThreadPoolExecutor(min(at_once, len(items)))
        try:
            left = iter(items)
            waiting = {pool.submit(one, item) for _, item in zip(range(2 * at_once), left, strict=False)}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                waiting |= {pool.submit(one, item) for _, item in zip(done, left, strict=False)}
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _slurm(words: str) -> Any:
    try:
        dask_jobqueue = import_module("dask_jobqueue")
    except ImportError as error:
        msg = "The executor slurm: needs dask-jobqueue; install it with: pip install 'whycell[cluster]'"
        raise MissingExtraError(msg) from error
    options = dict(word.partition("=")[::2] for word in words.split(",") if word)
    jobs = _whole(options.pop("jobs", "1"), f"slurm:{words}")
    whole: dict[str, Any] = {
        name: _whole(options.pop(name), f"slurm:{words}") for name in ("cores", "processes") if name in options
    }
    cluster = dask_jobqueue.SLURMCluster(**{"cores": 1, "memory": "4GB"} | options | whole)
    cluster.scale(jobs=jobs)
    return cluster


def _read_shard(shard: str) -> tuple[int, int]:
    if not shard:
        return 1, 1
    first, _, of = shard.partition("/")
    if first.isdecimal() and of.isdecimal() and 1 <= int(first) <= int(of):
        return int(first), int(of)
    msg = f"Got the shard {shard!r}; wanted i/n with i from 1 to n, such as 3/64."
    raise UsageError(msg)


def _whole(word: str, given: str) -> int:
    if not word.isdecimal():
        msg = f"Got {word!r} in the executor {given!r}; wanted a whole number, as in {_FORMS}."
        raise UsageError(msg)
    return int(word)


def _spread(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
