"""Bad inputs by the thousand: what every command answers, and what it leaves untouched.

    python benchmarks/hostile_inputs.py --cases 1000 --seed 0

Damaged files of every format, senseless options and forbidden outputs, each in a process of its
own. Every answer must be one line with exit status 0 or 2 and no word of a bug; inputs and foreign
files stay as they were, and nothing new is left beside the named output.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "cli"))

from hostile import Workshop, attack, catalogue_at

SECONDS = 120


def in_process(workshop: Workshop, place: Path, seed: int) -> list[str]:
    """Return what is wrong with one case, run in a process that may crash or hang."""
    report = place.with_suffix(".report")
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        line, faults = attack(workshop, place, random.Random(seed))
        report.write_text("\n".join([line, *faults]))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not report.exists():
        return [f"case {seed}", f"the process died with status {status}"]
    return report.read_text().split("\n")


def main() -> None:
    """Run the cases and print those with a fault, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    began, counts = time.perf_counter(), Counter()
    with tempfile.TemporaryDirectory() as scratch, catalogue_at(Path(scratch) / "cache"):
        workshop = Workshop.for_forks(Path(scratch) / "good")
        for seed in range(chosen.seed, chosen.seed + chosen.cases):
            line, *faults = in_process(workshop, Path(scratch) / f"case-{seed}", seed)
            counts["with a fault" if faults else "answered well"] += 1
            for fault in faults:
                counts[fault.partition(" ")[0]] += 1
            if faults:
                print(f"{seed}: {line}", *faults, sep="\n    ", flush=True)
    print(f"{chosen.cases} bad inputs in {time.perf_counter() - began:.0f} s: {dict(counts)}")


if __name__ == "__main__":
    main()
