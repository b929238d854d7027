"""Trains the demo policy on one GPU: data from the simulation, flow matching, openpi's layout.

    python3 tools/train_demo/train.py --generator build/bin/demo_data --out out/pick_block

From a trained policy on, with its tokenizer and statistics, on data that shows how to put right
what it does wrong (the expert takes over from it somewhere in each of the corrections):

    python3 tools/train_demo/train.py --generator build/bin/demo_data --task blocks --no-auxiliary \
      --begin assets/blocks --corrections 2500 --rate 4e-4 --keep 0.5 --seeds 1 --out out/blocks

Several GPUs: one call each, with its own --device, --first-seed and --out, and the --data that one
call of demo_data wrote. SIGTERM ends a training early; what it has by then is written.

Writes OUT/seed_K/{model.safetensors, config.json, norm_stats.json, tokenizer.model, tendon.json,
golden.safetensors, golden.json, training.json} for each seed. Needs torch, numpy, safetensors and
sentencepiece. Afterwards evaluate.py drives each with `tendon rollout` and names the best.
"""

import argparse
import json
import math
import pathlib
import shutil
import signal
import subprocess
import time

import numpy as np
import torch

import golden
import pi05
from frames import Frames
from render import Renderer
from tokens import Tokenizer, state_bins, train_tokenizer

START = time.time()


def say(*words):
    print(f"[{time.time() - START:7.1f}]", *words, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--generator", type=pathlib.Path, help="demo_data; runs first")
    source.add_argument("--data", type=pathlib.Path, nargs="+", help="folders demo_data wrote")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--task", default="pick_block", choices=["pick_block", "blocks"])
    parser.add_argument("--begin", type=pathlib.Path, help="folder of a policy; absent: at random")
    parser.add_argument("--keep", type=float, default=0,
                        help="share of --begin's own weights in what is written")
    parser.add_argument("--episodes", type=int, default=10000)
    parser.add_argument("--corrections", type=int, default=0, help="episodes that --begin begins")
    parser.add_argument("--every", type=int, default=1, help="of how many frames one is used")
    parser.add_argument("--seconds", type=float, default=120, help="of each training")
    parser.add_argument("--deadline", type=float, default=math.inf,
                        help="seconds from the start by which the last training ends")
    parser.add_argument("--iterations", type=int, default=0, help="at most; 0: only --seconds")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=4, help="noise and time draws a prefix serves")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tokenizer-lines", type=int, default=60000)
    parser.add_argument("--no-auxiliary", action="store_true", help="no position head in training")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--device", default="cuda:0", help="cuda:N or cpu")
    args = parser.parse_args()
    if args.corrections and not (args.begin and args.generator):
        parser.error("--corrections needs --begin and --generator")
    if args.keep and not args.begin:
        parser.error("--keep needs --begin")
    return args


class Generation:
    """Calls of demo_data at work; args.data becomes what they write."""

    def __init__(self, args):
        sets = {"data": ["--episodes", str(args.episodes)]}
        if args.corrections:
            sets["corrections"] = ["--episodes", str(args.corrections), "--policy", str(args.begin)]
        args.data = [args.out / name for name in sets]
        base = [str(args.generator), "--task", args.task]
        self.calls = [subprocess.Popen([*base, *options, "--out", str(folder)])
                      for options, folder in zip(sets.values(), args.data)]

    def wait(self):
        for call in self.calls:
            if call.wait():
                raise SystemExit("train.py: demo_data failed")


def tokenised(frames, tokenizer):
    return tokenizer.all([frames.prompts[p] for p in frames.prompt], state_bins(frames.state))


class Dataset:
    """Everything a batch needs, on the device."""

    def __init__(self, frames, tokenizer, dims, device):
        n = len(frames)
        ids, count = tokenised(frames, tokenizer)
        self.ids = torch.tensor(ids, device=device)
        self.count = torch.tensor(count, device=device)
        self.actions = torch.zeros(n, dims.horizon, dims.action_dim, device=device)
        self.actions[..., : dims.real_dims] = torch.tensor(frames.actions, device=device)
        target = torch.tensor(frames.fields["target"], device=device)
        self.target = target / target.std(0, keepdim=True)
        self.images = rendered(frames, dims, device)

    def batch(self, rows, head):
        return (self.images[rows], self.ids[rows], self.count[rows], self.actions[rows],
                self.target[rows], head)


def rendered(frames, dims, device):
    renderer = Renderer(frames.half_sizes, dims.image, device)
    jitter = torch.Generator(device=device).manual_seed(0)
    n, step = len(frames), 64 if device == "cpu" else 2048
    images = torch.empty(n, 2, dims.image, dims.image, 3, dtype=torch.uint8, device=device)
    poses = [frames.fields[name] for name in ("positions", "rotations", "colours", "views")]
    for begin in range(0, n, step):
        part = [x[begin : begin + step] for x in poses]
        images[begin : begin + step] = renderer(part, jitter)
    return images


class Trainer:
    def __init__(self, dims, args, seed):
        self.dims, self.args, device = dims, args, args.device
        stored = args.begin and pi05.stored(args.begin, device)
        tensors = stored or pi05.initial(dims, seed, device)
        self.tensors = {k: v.requires_grad_() for k, v in tensors.items()}
        self.head = None
        if not args.no_auxiliary:
            generator = torch.Generator().manual_seed(seed)
            weight = torch.randn(6, dims.prefix_width, generator=generator) * 0.06
            self.head = tuple(x.to(device).requires_grad_() for x in (weight, torch.zeros(6)))
        self.trained = [*self.tensors.values(), *(self.head or ())]
        matrices = [x for x in self.trained if x.dim() > 1]
        vectors = [x for x in self.trained if x.dim() <= 1]
        groups = [dict(params=matrices, weight_decay=0.01), dict(params=vectors, weight_decay=0.0)]
        how = {} if device == "cpu" else {"fused": True}
        self.optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.95), **how)
        self.average = {k: v.detach().clone() for k, v in self.tensors.items()}
        self.generator = torch.Generator(device=device).manual_seed(seed + 1)
        self.loss = pi05.flow_loss
        if not args.no_compile:
            self.loss = torch.compile(pi05.flow_loss, dynamic=False)
        self.iteration = 0
        self.stopped = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped", True))

    def compile(self):
        """Compiles the loss on a batch of nothing, while the data is being made."""
        dims, n, device = self.dims, self.args.batch, self.args.device
        batch = (torch.zeros(n, 2, dims.image, dims.image, 3, dtype=torch.uint8, device=device),
                 torch.zeros(n, dims.capacity, dtype=torch.int64, device=device),
                 torch.ones(n, dtype=torch.int64, device=device),
                 torch.zeros(n, dims.horizon, dims.action_dim, device=device),
                 torch.zeros(n, 6, device=device), self.head)
        self.gradients(batch, *self.draws(n)[1:])
        self.optimiser.zero_grad(set_to_none=True)

    def draws(self, count):
        args, dims, device = self.args, self.dims, self.args.device
        rows = torch.randint(count, (args.batch,), device=device, generator=self.generator)
        pairs = args.batch * args.pairs
        shape = pairs, dims.horizon, dims.action_dim
        noise = torch.randn(shape, device=device, generator=self.generator)
        # Beta(1.5, 1) is the 2/3 power of a uniform number.
        uniform = torch.rand(pairs, device=device, generator=self.generator)
        return rows, noise, 0.999 * uniform ** (2 / 3) + 0.001

    def step(self, data, progress):
        warm = min(1.0, (self.iteration + 1) / 200)
        rate = self.args.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        rows, noise, times = self.draws(len(data.ids))
        flow, auxiliary = self.gradients(data.batch(rows, self.head), noise, times)
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        keep = min(0.9993, 1 - 1 / (self.iteration / 3 + 2))
        self.follow(1 - keep)
        self.iteration += 1
        return flow, auxiliary

    def gradients(self, batch, noise, times):
        kind = self.args.device.split(":")[0]
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind != "cpu"):
            loss, flow, auxiliary = self.loss(self.tensors, self.dims, batch, noise, times)
        loss.backward()
        return flow, auxiliary

    @torch.no_grad()
    def follow(self, share):
        """Moves the average towards the weights."""
        means, targets = list(self.average.values()), [x.detach() for x in self.tensors.values()]
        if self.args.device != "cpu":
            torch._foreach_lerp_(means, targets, share)
            return
        for mean, target in zip(means, targets):
            mean.lerp_(target, share)

    def result(self):
        """The average over time, drawn back towards the policy it began from."""
        if not self.args.keep:
            return self.average
        begin = pi05.stored(self.args.begin, self.args.device)
        return {k: torch.lerp(v, begin[k], self.args.keep) for k, v in self.average.items()}

    def run(self, data):
        """The clock starts once the loss is compiled. Returns (iteration, flow, auxiliary) rows."""
        history, began, seconds = [], None, self.args.seconds
        while True:
            passed = 0.0 if began is None else time.time() - began
            done = self.iteration / self.args.iterations if self.args.iterations else 0.0
            progress = max(passed / seconds, done)
            if progress >= 1 or self.stopped:
                return history
            flow, auxiliary = self.step(data, progress)
            if self.iteration == 3:
                float(flow)  # waits for the device
                began = time.time()
                seconds = max(1.0, min(seconds, START + self.args.deadline - began))
            if self.iteration % 200 == 0:
                history.append((self.iteration, float(flow), float(auxiliary)))
                say(f"iteration {self.iteration}, flow {flow:.4f}, position {auxiliary:.4f}")


def write_policy(folder, trainer, frames, tokenizer_path):
    folder.mkdir(parents=True, exist_ok=True)
    pi05.save(trainer.result(), trainer.dims, folder)
    statistics = json.dumps({"norm_stats": frames.statistics}, indent=1)
    (folder / "norm_stats.json").write_text(statistics + "\n")
    shutil.copy(tokenizer_path, folder / "tokenizer.model")
    contract = {"contract": "pick_block", "dims": {"vision_heads": trainer.dims.vision_heads}}
    (folder / "tendon.json").write_text(json.dumps(contract, indent=1) + "\n")


def write_record(folder, trainer, args, record):
    plain = str, int, float, bool, type(None)
    settings = {k: v if isinstance(v, plain) else str(v) for k, v in vars(args).items()}
    record = dict(iterations=trainer.iteration, settings=settings, **record)
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def dims_with(tokenizer_path):
    return pi05.Dims(vocab=len(Tokenizer(tokenizer_path, pi05.Dims().capacity)))


def begun(args, tokenizer_path):
    """A trainer that goes on from a policy, its loss compiled, and the policy's statistics."""
    shutil.copy(args.begin / "tokenizer.model", tokenizer_path)
    trainer = Trainer(dims_with(tokenizer_path), args, args.first_seed)
    if not args.no_compile:
        trainer.compile()
        say("compiled")
    return trainer, json.loads((args.begin / "norm_stats.json").read_text())["norm_stats"]


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.device != "cpu":
        torch.cuda.set_device(args.device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    generation = Generation(args) if args.generator else None
    tokenizer_path = args.out / "tokenizer.model"
    first, statistics = begun(args, tokenizer_path) if args.begin else (None, None)
    if generation:
        generation.wait()
    frames = Frames(args.data, pi05.Dims().horizon, statistics, args.every)
    say(len(frames), "frames")
    if not args.begin:
        real = pi05.Dims().real_dims
        train_tokenizer(tokenizer_path, frames.prompts, real, args.tokenizer_lines)
    dims = dims_with(tokenizer_path)
    tokenizer = Tokenizer(tokenizer_path, dims.capacity)
    data = Dataset(frames, tokenizer, dims, args.device)
    say("drawn and tokenised;", int(data.count.max()), "tokens at most")
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        if not args.no_compile and not first:
            torch._dynamo.reset()
        trainer, first = first or Trainer(dims, args, seed), None
        history = trainer.run(data)
        folder = args.out / f"seed_{seed}"
        write_policy(folder, trainer, frames, tokenizer_path)
        golden.write(folder, dims, frames, tokenizer)
        write_record(folder, trainer, args, dict(seed=seed, frames=len(frames), history=history))
        say("seed", seed, "done after", trainer.iteration, "iterations:", folder)


if __name__ == "__main__":
    main()
