"""One engine: the same answers here, in processes and on a cluster; a worker that dies loses nothing."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from whycell.compute import Engine
from whycell.errors import UsageError, WhycellError

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH", "")]))  # workers inherit it

import engine_work as work  # noqa: E402


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    from distributed import LocalCluster

    scratch = str(tmp_path_factory.mktemp("dask"))
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=scratch
    ) as made:
        yield made


@pytest.fixture(params=["here", "local:2", "dask"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "dask":
        return Engine(f"dask:{request.getfixturevalue('cluster').scheduler_address}")
    return Engine(request.param)


@pytest.mark.parametrize("at_once", [1, 3])
def test_every_item_is_answered_once_and_an_error_is_an_answer(engine: Engine, at_once: int) -> None:
    found = {outcome.item: outcome for outcome in engine.map(work.square, range(-1, 20), at_once=at_once)}
    assert sorted(found) == list(range(-1, 20))
    assert [found[i].get() for i in range(20)] == [i * i for i in range(20)]
    with pytest.raises(ValueError, match="-1 is negative"):
        found[-1].get()


def test_workers_multiply_on_one_core(engine: Engine) -> None:
    (outcome,) = engine.map(work.blas_threads, [0])
    assert set(outcome.get()) <= {1}


@pytest.mark.parametrize("at_once", [1, 4])
def test_what_died_with_its_worker_is_done_again(at_once: int, tmp_path: Path) -> None:
    tasks = [(i, str(tmp_path)) for i in range(12)]
    outcomes = list(Engine("local:2").map(work.die_once, tasks, at_once=at_once))
    assert sorted(outcome.get() for outcome in outcomes) == [i * i for i in range(12)]
    assert (tmp_path / "died").exists()


def test_only_the_item_that_kills_is_blamed() -> None:
    found = {outcome.item: outcome for outcome in Engine("local:2").map(work.die_always, range(10), at_once=2)}
    assert sorted(i for i, outcome in found.items() if outcome.error) == [7]
    with pytest.raises(WhycellError, match="died 2 times"):
        found[7].get()


def test_a_worker_of_a_cluster_killed_in_mid_job_loses_nothing(cluster, tmp_path: Path) -> None:
    tasks = [(i, str(tmp_path)) for i in range(60)]
    outcomes = []

    def kill_one() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(int(next(tmp_path.iterdir()).name), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    outcomes = list(Engine(f"dask:{cluster.scheduler_address}").map(work.slow_and_marked, tasks))
    killer.join()
    assert sorted(outcome.get() for outcome in outcomes) == [i * i for i in range(60)]


def test_shards_are_a_partition_that_new_items_do_not_move() -> None:
    items = [f"s3://bucket/{i}.h5ad" for i in range(200)]
    parts = [Engine(shard=f"{i}/5").share(items) for i in range(1, 6)]
    assert sorted(item for part in parts for item in part) == sorted(items)
    assert min(map(len, parts)) > 20
    assert set(parts[2]) < set(Engine(shard="3/5").share([*items, "s3://bucket/new.h5ad", "s3://bucket/0a.h5ad"])) | {
        ""
    }


def test_a_cluster_of_another_version_is_refused(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed.Client.run", lambda *_: {"tcp://worker": "99.0"})
    with pytest.raises(UsageError, match=r"have whycell 99\.0; install"):
        list(Engine(f"dask:{cluster.scheduler_address}").map(work.square, [1]))


def test_jobs_of_slurm_are_started_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    asked: dict[str, object] = {}

    class Queue(LocalCluster):
        """Takes the place of dask-jobqueue's cluster: what was asked of it, and a worker here."""

        def __init__(self, **words: object) -> None:
            asked.update(words)
            super().__init__(n_workers=1, threads_per_worker=1, dashboard_address=":0")

        def scale(self, n: int = 1, *, jobs: int = 0) -> None:
            asked["jobs"] = asked.get("jobs") or jobs
            super().scale(1 if jobs else n)

    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=Queue))
    engine = Engine("slurm:jobs=3,cores=4,memory=16GB,queue=short,walltime=01:00:00")
    assert sorted(outcome.get() for outcome in engine.map(work.square, [1, 2])) == [1, 4]
    assert asked == {"cores": 4, "memory": "16GB", "queue": "short", "walltime": "01:00:00", "jobs": 3}


@pytest.mark.parametrize("given", ["there", "local:x", "dask", "here:2"])
def test_an_executor_of_no_known_form_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="wanted"):
        Engine(given)


@pytest.mark.parametrize("given", ["0/4", "5/4", "3", "a/b"])
def test_a_shard_of_no_known_form_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="3/64"):
        Engine(shard=given)
