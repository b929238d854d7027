"""Drives trained policies through the closed loop and names the best.

    python3 tools/train_demo/evaluate.py build/bin/tendon assets/pick_block --suite all
    python3 tools/train_demo/evaluate.py build/bin/tendon assets/blocks --task blocks

Each row is a call of `tendon rollout`; all rows see the same scenes. Writes FOLDER/results.json.
With several folders the one that succeeds most, the moving table included, is named last.
"""

import argparse
import json
import pathlib
import subprocess

MOVING = ["--table-speed", "0.04", "--execute", "4"]
STILL = {
    "right prompt": [],
    "another colour named": ["--prompt", "pick up the {other} block"],
    "blank pictures": ["--blank", "both"],
    "base picture blank": ["--blank", "base"],
    "wrist picture blank": ["--blank", "wrist"],
    "no colour named": ["--prompt", "pick up the block"],
    "colour that is not there": ["--prompt", "pick up the {absent} block"],
    "wording never trained": ["--prompt", "please grab the {colour} cube"],
    **{f"{steps} steps": ["--steps", str(steps)] for steps in (4, 2, 1)},
    **{f"{ticks} ticks late": ["--delay", str(ticks)] for ticks in (2, 4, 6, 8)},
    **{f"execute {ticks}": ["--execute", str(ticks)] for ticks in (4, 16)},
}
TABLE = {
    f"moving table, {steps} steps, {ticks} ticks late":
        [*MOVING, "--steps", str(steps), "--delay", str(ticks)]
    for steps in (10, 4, 2, 1) for ticks in (0, 1, 2, 4)
}
VERBS = {
    "pick up": "pick up the {} block",
    "push away": "push the {} block away",
    "put on another": "put the {} block on the {{base}} block",
}
CONDITIONS = {
    "right prompt": ("{colour}", []),
    "another colour named": ("{other}", []),
    "blank pictures": ("{colour}", ["--blank", "both"]),
    "base picture blank": ("{colour}", ["--blank", "base"]),
    "wrist picture blank": ("{colour}", ["--blank", "wrist"]),
}
BLOCKS = {
    f"{verb}: {condition}": ["--prompt", text.format(colour), *options]
    for condition, (colour, options) in CONDITIONS.items() for verb, text in VERBS.items()
}
SUITES = {
    "gate": {name: STILL[name] for name in list(STILL)[:3]},
    "still": STILL,
    "table": TABLE,
    "choose": dict([*list(STILL.items())[:3], *list(TABLE.items())[:1]]),
    "all": {**STILL, **TABLE},
    "verbs": dict(list(BLOCKS.items())[: len(VERBS)]),
    "blocks": BLOCKS,
}
LABEL = "{:<40} {:>5} {:>6} {:>6} {:>14} {:>7} {:>9}"


def rollout(tendon, folder, options):
    command = [str(tendon), "rollout", str(folder), "--json", *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def row(name, got):
    low, high = (100 * x for x in got["interval"])
    return LABEL.format(
        name, got["successes"], got["others"], got["originals"], f"{low:.1f} .. {high:.1f}",
        f"{got['mean_ticks']:.1f}", f"{got['latency_ms']['p50']:.2f}")


def judge(args, folder):
    results = {}
    print(f"{folder}: {args.episodes} episodes a row, {args.dtype or 'as stored'}")
    print(LABEL.format("condition", "named", "other", "drawn", "95 % interval", "ticks", "p50 ms"))
    for name, options in SUITES[args.suite].items():
        common = ["--task", args.task, "--episodes", str(args.episodes), "--seed", str(args.seed)]
        if args.dtype:
            common += ["--dtype", args.dtype]
        if args.execute:
            common += ["--execute", str(args.execute)]
        results[name] = rollout(args.tendon, folder, [*common, *options])
        results[name]["options"] = [*common, *options]
        del results[name]["list"]
        print(row(name, results[name]), flush=True)
    (args.results or folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    return sum(r["successes"] for name, r in results.items() if "blank" not in name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tendon", type=pathlib.Path)
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--task", default="pick_block", choices=["pick_block", "blocks"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="", choices=["", "f32", "bf16"])
    parser.add_argument("--execute", type=int, default=0, help="0: the task's, or the row's")
    parser.add_argument("--suite", choices=list(SUITES), help="absent: choose, or blocks")
    parser.add_argument("--results", type=pathlib.Path, help="instead of FOLDER/results.json")
    args = parser.parse_args()
    args.suite = args.suite or ("choose" if args.task == "pick_block" else "blocks")
    totals = {folder: judge(args, folder) for folder in args.folders}
    if len(totals) > 1:
        print("best:", max(totals, key=totals.get))


if __name__ == "__main__":
    main()
