"""What demo_data wrote, as chunks of normalised actions with their statistics."""

import pathlib
import xml.etree.ElementTree

import numpy as np

FIELDS = ("positions", "rotations", "colours", "views", "state", "action", "target", "episode")


def half_sizes(folder):
    """Of the scene's boxes, in MuJoCo's order: by body, depth first, the world's own first."""
    world = xml.etree.ElementTree.parse(pathlib.Path(folder) / "scene.xml").find("worldbody")
    sizes = []

    def visit(body):
        sizes.extend([float(x) for x in g.get("size").split()] for g in body.findall("geom"))
        for child in body.findall("body"):
            visit(child)

    visit(world)
    return np.array(sizes, np.float32)


class Frames:
    """fields: the recorded arrays; actions [N, H, 5] and state [N, 5] normalised; statistics, where
    they are not given those of the frames. Of each folder every `every`th frame is kept."""

    def __init__(self, folders, horizon, statistics=None, every=1):
        folders = [pathlib.Path(x) for x in np.atleast_1d(folders)]
        parts = [{name: np.load(folder / f"{name}.npy") for name in FIELDS} for folder in folders]
        for i, part in enumerate(parts):  # numbers start anew in each folder
            part["episode"][:, 0] += i * 1e6
        self.fields = {name: np.concatenate([part[name] for part in parts]) for name in FIELDS}
        self.prompts = (folders[0] / "prompts.txt").read_text().splitlines()
        self.half_sizes = half_sizes(folders[0])
        self.prompt = self.fields["episode"][:, 1].astype(int)
        state = self.fields["state"].astype(np.float64)
        chunks = self.chunks(horizon)
        if every > 1:
            self.fields = {name: field[::every] for name, field in self.fields.items()}
            self.prompt, state, chunks = self.prompt[::every], state[::every], chunks[::every]
        chunks[..., :4] -= state[:, None, :4]  # joints from where they are; the gripper stays
        self.statistics = statistics or {
            "state": summary(state), "actions": summary(chunks.reshape(-1, 5))}
        self.actions = normalised(chunks, self.statistics["actions"]).astype(np.float32)
        self.state = normalised(state, self.statistics["state"])

    def __len__(self):
        return len(self.prompt)

    def chunks(self, horizon):
        """Each frame's next actions; past an episode's end its last one stays."""
        number = self.fields["episode"][:, 0]
        ends = np.flatnonzero(np.append(number[1:] != number[:-1], True))
        last = ends[np.searchsorted(ends, np.arange(len(number)))]
        index = np.minimum(np.arange(len(number))[:, None] + np.arange(horizon), last[:, None])
        return self.fields["action"][index].astype(np.float64)


def summary(x):
    low, high = np.quantile(x, [0.01, 0.99], axis=0)
    rows = {"mean": x.mean(0), "std": x.std(0), "q01": low, "q99": high}
    return {name: row.tolist() for name, row in rows.items()}


def normalised(x, statistics):
    low, high = np.array(statistics["q01"]), np.array(statistics["q99"])
    return (x - low) / (high - low + 1e-6) * 2 - 1


def restored(x, statistics):
    low, high = np.array(statistics["q01"]), np.array(statistics["q99"])
    return (x + 1) / 2 * (high - low + 1e-6) + low
