"""Loading a policy and asking it for actions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from . import _core


def load(
    path: Union[str, "os.PathLike[str]"],
    *,
    device: str = "cpu",
    dtype: Optional[str] = None,
    contract: Optional[str] = None,
    tokenizer: Optional[str] = None,
    statistics: Optional[str] = None,
    default_prompt: Optional[str] = None,
    context: Optional[str] = None,
    text_cache: Optional[str] = None,
    schedule: Optional[str] = None,
    threads: int = 0,
    max_steps: int = 100,
    truncate_prompt: bool = False,
    frame_pixels: int = 0,
    strict: bool = False,
    seed: int = 0,
    progress: Optional[Callable[[str, float], None]] = None,
) -> Policy:
    """Loads a checkpoint folder (or file) and warms every stage.

    Takes seconds to minutes, without the interpreter's lock.

    Args:
        path: a published checkpoint's folder, or its .safetensors file.
        device: "cpu", "cuda", "cuda:1" or "reference".
        dtype: "f32" or "bf16"; None: bf16 where the checkpoint is, else f32.
        contract: a built-in contract's name or a JSON file; None: from the checkpoint.
        tokenizer, statistics: files; None: in the checkpoint's folder.
        default_prompt: used where an observation has no prompt.
        context: file of text rows used for every prompt (.npy, .safetensors).
        text_cache: folder where text rows of encoded prompts are kept.
        schedule: "exact", "bf16" or "divided" time steps; None: the contract's.
        threads: CPU threads; 0: all.
        max_steps: most denoising steps a call may ask for.
        truncate_prompt: cut a prompt that is over capacity instead of refusing it.
        frame_pixels: above 0, the device resizes camera frames of up to so many pixels, to the
            same numbers as the host; larger ones are refused.
        strict: refuse observation keys that the policy does not take; otherwise they are ignored.
        seed: of the noise: request n since load or reset draws number n of it, request 0 the
            noise of `tendon run --seed`.
        progress: told what is being loaded and how far it is, in [0, 1].

    Raises:
        tendon.Error: one sentence that names what is wrong and the remedy.
    """
    options = _core.LoadOptions()
    options.device = device
    options.dtype = dtype or ""
    options.contract = contract or ""
    options.tokenizer = os.fspath(tokenizer) if tokenizer else ""
    options.statistics = os.fspath(statistics) if statistics else ""
    options.default_prompt = default_prompt or ""
    options.context = os.fspath(context) if context else ""
    options.text_cache = os.fspath(text_cache) if text_cache else ""
    options.schedule = schedule or ""
    options.threads = threads
    options.max_steps = max_steps
    options.truncate_prompt = truncate_prompt
    options.frame_pixels = frame_pixels
    options.progress = progress
    return Policy(_core.Policy(os.fspath(path), options, seed, strict))


class Policy:
    """A loaded policy, made by `load`.

    Any thread may call it; one inference runs at a time, the others wait in line. The interpreter's
    lock is free while it computes.
    """

    def __init__(self, core: _core.Policy) -> None:
        self._core = core
        self._metadata: dict[str, Any] = json.loads(core.info.metadata_json)

    def infer(
        self,
        obs: Mapping[str, Any],
        *,
        noise: Optional[npt.ArrayLike] = None,
        seed: Optional[int] = None,
        steps: Optional[int] = None,
        pinned: Optional[npt.ArrayLike] = None,
        pin_rule: str = "family",
        shift: float = 0,
    ) -> dict[str, Any]:
        """One observation in, one chunk of actions out.

        Args:
            obs: the contract's keys (`info.inputs`), flat ("images/cam_high") or nested
                ({"images": {"cam_high": ...}}). Pictures: uint8, or floats in [0, 1]; [h, w, 3] or
                [3, h, w], for ALOHA [3, h, w] only. State: any numbers, robot units. "prompt": str,
                bytes or a string array. uint8 [h, w, 3] with dense rows is read in place; arrays
                may be read-only. Do not write to them until the call returns.
            noise: float32 [horizon, model_width] or [1, horizon, model_width]; None: of the seed.
            seed: of this call's noise; None: the session's next, see `load`.
            steps: denoising steps; None: the contract's.
            pinned: float32 [rows, model_width], the first rows of the new chunk's model_actions,
                decided already; they come back unchanged.
            pin_rule: how they take part: "family" (its own), "conditioned", "renoised", "clamped".
            shift: of the time schedule, for families that have one; 0: the contract's.

        Returns:
            "actions": float64 [horizon, width], robot units.
            "model_actions": float32 [horizon, model_width], normalised, for `pinned`.
            "policy_timing": milliseconds: "infer_ms" of the model, "<stage>_ms" of each part,
                "total_ms" of the call.

        Raises:
            tendon.Error: a key is missing, has another shape or a value that is not finite; the
                prompt is over capacity; the device failed.
        """
        call = _core.Call()
        call.seed = seed
        call.steps = 0 if steps is None else steps
        call.shift = shift
        call.pin_rule = _pin_rule(pin_rule)
        call.noise = _float32(noise)
        call.pinned = _float32(pinned)
        actions, model_actions, parts, seconds = self._core.infer(list(self._items(obs)), call)
        timing = {f"{part}_ms": s * 1e3 for part, s in parts}
        model = sum(s for part, s in parts if part not in ("preprocess", "postprocess"))
        return {
            "actions": actions,
            "model_actions": model_actions,
            "policy_timing": {"infer_ms": model * 1e3, **timing, "total_ms": seconds * 1e3},
        }

    def warm_up(self, prompt: Optional[str] = None) -> None:
        """One inference on black pictures and a zero state whose result is dropped.

        Afterwards calls of this size find everything in place, the prompt's text rows too. The
        noise of later requests does not change.
        """
        obs: dict[str, Any] = {} if prompt is None else {"prompt": prompt}
        for i in self.info.inputs:
            if i.size == 0:
                shape = (3, 224, 224) if i.channels_first else (224, 224, 3)
                obs[i.key] = np.zeros(shape, np.uint8)
            else:
                obs[i.key] = np.zeros(i.size)
        self._core.warm_up(list(self._items(obs)))

    def reset(self, seed: Optional[int] = None) -> None:
        """A new episode: the next request draws noise number 0, of `seed` where one is given."""
        self._core.reset(seed)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the contract tells clients, for example {"reset_pose": [...]} of ALOHA."""
        return self._metadata

    @property
    def info(self) -> _core.PolicyInfo:
        """What was loaded: inputs, horizon, widths, device, hashes, memory."""
        return self._core.info

    def __repr__(self) -> str:
        i = self.info
        return f"<tendon.Policy {i.contract} ({i.family}), {i.dtype} on {i.device}>"

    def _items(self, obs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, value in _flat(obs, ""):
            if isinstance(value, (str, bytes)):
                yield key, value
            elif isinstance(value, np.ndarray) and value.dtype.kind in "US" and value.size == 1:
                yield key, value.item()
            elif _is_numbers(value) or self._core.takes(key):
                yield key, _array(key, value)
            else:
                yield key, None


def _flat(obs: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in obs.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _is_numbers(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray) and value.dtype.kind in "buif" and value.dtype.itemsize <= 8
    )


def _array(key: str, value: Any) -> npt.NDArray[Any]:
    array = np.asarray(value)
    if not _is_numbers(array):
        raise _core.Error(
            f"{key}: {array.dtype} came; booleans, integers and floats of at most 64 bits are taken"
        )
    return array


def _pin_rule(name: str) -> _core.PinRule:
    rules = _core.PinRule.__members__
    if name not in rules:
        raise _core.Error(f'pin_rule "{name}": {", ".join(rules)} are known')
    return rules[name]


def _float32(value: Optional[npt.ArrayLike]) -> Optional[npt.NDArray[np.float32]]:
    return None if value is None else np.ascontiguousarray(value, np.float32)
