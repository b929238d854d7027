import enum
from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

__version__: str

class Error(RuntimeError):
    """Why a checkpoint or an observation was refused: one sentence with the remedy."""

class LoadOptions:
    """See `tendon.load`."""

    device: str
    dtype: str
    contract: str
    tokenizer: str
    statistics: str
    default_prompt: str
    context: str
    text_cache: str
    schedule: str
    threads: int
    max_steps: int
    truncate_prompt: bool
    frame_pixels: int
    progress: Optional[Callable[[str, float], None]]
    def __init__(self) -> None: ...

class Input:
    """One array of an observation."""

    @property
    def key(self) -> str:
        """The contract's observation key."""
    @property
    def slot(self) -> str:
        """The model's camera slot; empty for a vector."""
    @property
    def size(self) -> int:
        """Numbers of a vector; 0 for a picture."""
    @property
    def required(self) -> bool: ...
    @property
    def aliases(self) -> list[str]:
        """Further keys that name the same."""
    @property
    def channels_first(self) -> bool:
        """Pictures come as [3, h, w] only."""

class PolicyInfo:
    """What was loaded; fixed for a policy's life."""

    @property
    def family(self) -> str: ...
    @property
    def contract(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def schedule(self) -> str: ...
    @property
    def weights_fingerprint(self) -> str: ...
    @property
    def statistics_sha256(self) -> str: ...
    @property
    def tokenizer_sha256(self) -> str: ...
    @property
    def inputs(self) -> list[Input]: ...
    @property
    def needs_prompt(self) -> bool:
        """False: there is a default prompt."""
    @property
    def horizon(self) -> int:
        """Rows of a chunk."""
    @property
    def width(self) -> int:
        """Numbers of an action."""
    @property
    def model_width(self) -> int:
        """Numbers of a row of model_actions."""
    @property
    def default_steps(self) -> int:
        """Denoising steps where a call asks for none."""
    @property
    def execute_rows(self) -> int:
        """Rows usually executed before the next inference; 0: not stated."""
    @property
    def control_hz(self) -> float:
        """Ticks a second; 0: not stated."""
    @property
    def metadata_json(self) -> str: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def buffer_bytes(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...

class PinRule(enum.Enum):
    """How pinned rows take part in the denoising."""

    family = 0
    conditioned = 1
    renoised = 2
    clamped = 3

class Call:
    """See `tendon.Policy.infer`."""

    seed: Optional[int]
    steps: int
    shift: float
    pin_rule: PinRule
    noise: Optional[npt.NDArray[np.float32]]
    pinned: Optional[npt.NDArray[np.float32]]
    def __init__(self) -> None: ...

class Policy:
    def __init__(self, path: str, options: LoadOptions, seed: int, strict: bool) -> None: ...
    @property
    def info(self) -> PolicyInfo: ...
    def takes(self, key: str) -> bool: ...
    def infer(
        self, items: list[tuple[str, Any]], call: Call
    ) -> tuple[
        npt.NDArray[np.float64], npt.NDArray[np.float32], list[tuple[str, float]], float
    ]: ...
    def warm_up(self, items: list[tuple[str, Any]]) -> None: ...
    def reset(self, seed: Optional[int]) -> None: ...

def run_command(arguments: list[str]) -> int:
    """The `tendon` command; arguments[0] is its name. Returns the exit code."""

def request_seed(seed: int, number: int) -> int:
    """The seed of request `number` of a session that was given `seed`."""
