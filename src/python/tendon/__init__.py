"""tendon runs robot policies in real time.

    import tendon
    policy = tendon.load("/models/pi05_libero", device="cpu")
    chunk = policy.infer({"observation/image": image, "observation/wrist_image": wrist,
                          "observation/state": state, "prompt": "pick up the red block"})
    chunk["actions"]                    # float64 [horizon, width], robot units

A policy stands where an openpi policy stood: the same observation keys, `metadata`, `reset`.
"""

from ._core import Error, Input, PolicyInfo, __version__
from .policy import Policy, load

__all__ = ["Error", "Input", "Policy", "PolicyInfo", "__version__", "load"]
