"""Change the kernels in small ways and see whether the tests notice: ``make mutate ARGS="--sample 40"``.

Ends with an error if fewer than 95 % are killed (of a part of all mutants, which chance decides, 80 %), or if one
survives that survivors.toml does not explain, in a file that record.json knows whole: of others, survivors are shown.
Mutants that do not compile, or that compile to the machine code that was there before, are not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools.mutation import results as kept
from tools.mutation import survivors
from tools.mutation.operators import Mutant, mutants
from tools.mutation.results import NOT_COMPILED, SAME_CODE, SURVIVED

WANTED, WANTED_OF_PART = 0.95, 0.8
SEED = 1


def main() -> int:
    arguments = _arguments()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="nnlab-mutation-") as cache:
        os.environ["NNLAB_CACHE_DIR"] = cache
        from tools.mutation import runner

        root = runner.KERNELS
        files = [
            path.relative_to(root).as_posix() for path in sorted([*root.glob("*.cu"), *root.glob("include/*.cuh")])
        ]
        files = [file for file in files if runner.steps(file)]  # headers that no kernel file includes have other tests
        every = [mutant for file in files for mutant in mutants(file, (root / file).read_text())]
        chosen = [m for m in every if not arguments.files or m.file in arguments.files]
        chosen = [m for m in chosen if not arguments.operators or m.operator in arguments.operators]
        if arguments.sample:
            chosen = drawn(chosen, arguments.sample, arguments.seed)
        if arguments.list:
            for mutant in chosen:
                print(_described(mutant))
            return 0
        start = time.monotonic()
        results: list[tuple[Mutant, str]] = []
        total, whole = len(chosen), len(chosen) == len(every)
        if arguments.results:
            done = kept.read(arguments.results, root)
            results = [(mutant, done[mutant]) for mutant in chosen if mutant in done]
            chosen = [mutant for mutant in chosen if mutant not in done]
        for result in runner.Workers(arguments.workers, Path(cache)).run(chosen):
            results.append(result)
            if arguments.results:
                kept.keep(arguments.results, root, *result)
            if result[1] == SURVIVED or arguments.verbose:
                print(f"[{len(results)}/{total}] {result[1]}: {_described(result[0])}", flush=True)
        print(f"{len(chosen)} mutants in {time.monotonic() - start:.0f} s")
        if arguments.results:
            kept.write_record(root, every, kept.read(arguments.results, root))
        return report(results, whole, kept.current(root))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("files", nargs="*", help="files to change, such as relu.cu or include/window.cuh; default all")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=SEED, help="of the drawing")
    parser.add_argument(
        "--results",
        type=Path,
        help="keep verdicts in this file, run no mutant that it has, and note in record.json which files are done",
    )
    parser.add_argument("--operators", nargs="*", help="only these kinds of change")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--list", action="store_true", help="show the mutants and run nothing")
    parser.add_argument("--verbose", action="store_true", help="show what became of each")
    return parser.parse_args()


def drawn(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """A sample. What a mutant draws does not depend on the others, so that it stays when other lines change."""
    twins: Counter[tuple[str, ...]] = Counter()
    lots = {}
    for mutant in mutants:
        key = (mutant.file, mutant.operator, mutant.old_line, mutant.new_line)
        twins[key] += 1
        lots[mutant] = hashlib.sha256(repr((seed, twins[key], key)).encode()).digest()
    return sorted(mutants, key=lots.__getitem__)[:count]


def _described(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.line} {mutant.operator}: {mutant.old_line}  ->  {mutant.new_line}"


def report(results: list[tuple[Mutant, str]], whole: bool, known: set[str]) -> int:
    """Print rates and survivors; 0 if all is well. ``known``: the files of which all mutants have been run."""
    explained = survivors.read()
    counts: dict[str, Counter[str]] = {}
    for mutant, verdict in results:
        counts.setdefault(mutant.file, Counter())[verdict] += 1
    total: Counter[str] = sum(counts.values(), Counter())
    apart = (NOT_COMPILED, SAME_CODE, SURVIVED)
    columns = sorted(set(total) - set(apart), key=lambda name: -total[name])
    print(f"\n{'file':32}{'killed':>8}{'of':>6}{'rate':>9}   by")
    rate = 1.0
    for file, found in [*sorted(counts.items()), ("all", total)]:
        killed = sum(found[name] for name in columns)
        rate = killed / max(1, killed + found[SURVIVED])
        by = ", ".join(f"{name} {found[name]}" for name in columns if found[name])
        print(f"{file:32}{killed:8}{killed + found[SURVIVED]:6}{rate:9.2%}   {by}")
    print(f"not counted: {total[NOT_COMPILED]} that do not compile, {total[SAME_CODE]} that compile to the same code")
    alive = [mutant for mutant, verdict in results if verdict == SURVIVED]
    same = [mutant for mutant, verdict in results if verdict == SAME_CODE]  # perhaps not with another compiler
    unexplained = [mutant for mutant in alive if not any(entry.covers(mutant) for entry in explained)]
    print(f"survivors: {len(alive)}, of which {len(alive) - len(unexplained)} are explained in survivors.toml")
    for mutant in unexplained:
        print(f"  not explained{'' if mutant.file in known else ', file not run whole'}: {_described(mutant)}")
    if whole:
        for entry in explained:
            for change in entry.changes:
                if not any(entry.covers(mutant) and mutant.new_line == change for mutant in alive + same):
                    print(f"  needs no explanation any more: {entry.file} {entry.operator}: {change}")
    wanted = WANTED if whole else WANTED_OF_PART
    if rate < wanted:
        print(f"fewer than {wanted:.0%} were killed")
    return 1 if rate < wanted or any(mutant.file in known for mutant in unexplained) else 0


if __name__ == "__main__":
    sys.exit(main())
