"""Shuffling and training killed with -9 at random, twenty times each: the result byte for byte the undisturbed one.

``make bench NAME=corpus_kills``; a number of kills may be given. The training's run.json, which carries the time, is
left out of the comparison.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _corpus import blood_fragments
from _harness import report

SHUFFLE = """
import sys; from pathlib import Path
from whycell.corpus.shuffle import shuffle
print("ready", flush=True)
shuffle(Path(sys.argv[1]), Path(sys.argv[2]), memory=1_000_000, block=1024)
"""
TRAIN = """
import sys; from pathlib import Path
import torch; torch.set_num_threads(1)
from whycell.jobs.train_corpus import train_corpus
from whycell.compute import Talk
class Tells(Talk):
    told = False
    def progress(self, what, total=None):
        if what == "training" and not self.told:
            self.told = True
            print("ready", flush=True)
        return super().progress(what, total)
train_corpus(Path(sys.argv[1]), Path(sys.argv[2]), checkpoint_seconds=0, verify=False, talk=Tells())
"""


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file but run.json."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def killed(code: str, source: Path, output: Path, *, kills: int, longest: float, rng: random.Random) -> dict[str, int]:
    """Run, kill while it works, run again; after so many kills let it end. One that ended early begins anew."""
    done = {"killed": 0, "finished before the kill": 0}
    while done["killed"] < kills or not output.exists():
        if output.exists():  # killed between its end and its exit
            shutil.rmtree(output)
        process = subprocess.Popen([sys.executable, "-c", code, str(source), str(output)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        if done["killed"] < kills:
            time.sleep(rng.uniform(0, longest))
            os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        code_back = process.wait()
        if code_back == -signal.SIGKILL:
            done["killed"] += 1
        elif code_back == 0:
            done["finished before the kill"] += done["killed"] < kills
            if done["killed"] < kills:
                shutil.rmtree(output)
        else:
            raise SystemExit(f"ended with {code_back}")
    return done


def main(kills: int) -> bool:
    rng = random.Random(0)
    results, same = {"kills asked": kills}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blood_fragments(folder / "fragments")
        for what, code, source, longest in (
            ("shuffle", SHUFFLE, folder / "fragments", 1.2),
            ("train", TRAIN, folder / "shuffle-whole", 6.0),
        ):
            whole, broken = folder / f"{what}-whole", folder / f"{what}-broken" / f"{what}-whole"
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code, str(source), str(whole)], check=True, stdout=subprocess.DEVNULL)
            alone = time.perf_counter() - start
            broken.parent.mkdir()
            results[what] = killed(code, source, broken, kills=kills, longest=longest, rng=rng)
            results[what]["seconds undisturbed"] = round(alone, 1)
            same[what] = contents(whole) == contents(broken)
            print(f"   {what}: {results[what]}, the same bytes: {same[what]}", flush=True)
    limits = {f"{what}, byte for byte the undisturbed one": (float(held), ">=", 1.0) for what, held in same.items()}
    return report("corpus_kills", results, limits=limits)


if __name__ == "__main__":
    sys.exit(not main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
