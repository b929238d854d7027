"""Observations with what this file's policy answers to them, for tests of other implementations.

    python3 tools/train_demo/golden.py assets/blocks --data out/data
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import pi05
from frames import Frames, restored
from render import Renderer
from tokens import Tokenizer, state_bins

COUNT = 4
STEPS = 10
THREADS = 2  # the work is small: more only wait for each other


def write(folder, dims, frames, tokenizer):
    """From the stored weights: fp32 arithmetic on bf16 numbers, on the CPU."""
    torch.set_num_threads(THREADS)
    tensors = {k: v.float() for k, v in load_file(str(folder / "model.safetensors")).items()}
    rows = np.linspace(0, len(frames) - 1, COUNT + 2).astype(int)[1:-1]
    renderer = Renderer(frames.half_sizes, dims.image, "cpu")
    poses = [frames.fields[n][rows] for n in ("positions", "rotations", "colours", "views")]
    images = renderer(poses)
    bins = state_bins(frames.state[rows])
    texts = [frames.prompts[frames.prompt[row]] for row in rows]
    coded = [tokenizer(text, b) for text, b in zip(texts, bins)]
    ids, count = (torch.tensor(x) for x in zip(*coded))
    noise = torch.randn(
        COUNT, dims.horizon, dims.action_dim, generator=torch.Generator().manual_seed(7))
    chunk = pi05.sample(tensors, dims, (images, ids, count), noise, STEPS)
    state = frames.fields["state"][rows].astype(np.float64)
    actions = restored(chunk[..., : dims.real_dims].double().numpy(), frames.statistics["actions"])
    actions[..., :4] += state[:, None, :4]
    arrays = {}
    for i in range(COUNT):
        arrays.update({
            f"{i}.images": images[i].contiguous(), f"{i}.state": torch.tensor(state[i]),
            f"{i}.noise": noise[i].contiguous(), f"{i}.chunk": chunk[i].contiguous(),
            f"{i}.actions": torch.tensor(actions[i])})
    save_file(arrays, str(folder / "golden.safetensors"))
    words = [{"text": text, "bins": b.tolist(), "ids": ids[i, : count[i]].tolist()}
             for i, (text, b) in enumerate(zip(texts, bins))]
    (folder / "golden.json").write_text(json.dumps(words, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="of a policy; its golden files are made")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="what demo_data wrote")
    args = parser.parse_args()
    config = json.loads((args.folder / "config.json").read_text())
    names = pi05.Dims.__dataclass_fields__
    dims = pi05.Dims(**{name: value for name, value in config.items() if name in names})
    statistics = json.loads((args.folder / "norm_stats.json").read_text())["norm_stats"]
    frames = Frames(args.data, dims.horizon, statistics)
    write(args.folder, dims, frames, Tokenizer(args.folder / "tokenizer.model", dims.capacity))


if __name__ == "__main__":
    main()
