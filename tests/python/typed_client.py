"""A program with types, for the type checker only."""

import numpy as np
import numpy.typing as npt

import tendon


def drive(policy: tendon.Policy, image: npt.NDArray[np.uint8]) -> float:
    result = policy.infer({"observation/image": image, "prompt": "pick"}, seed=3, steps=10)
    actions: npt.NDArray[np.float64] = result["actions"]
    names: list[str] = [i.key for i in policy.info.inputs]
    policy.reset(seed=5)
    policy.warm_up("pick")
    return float(actions[0, 0]) + policy.info.control_hz + len(names)


def main() -> None:
    try:
        drive(tendon.load("/model", device="cpu", dtype=None), np.zeros((4, 4, 3), np.uint8))
    except tendon.Error as e:
        raise SystemExit(str(e)) from e
