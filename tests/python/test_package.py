"""The package around the module: types, the command, what is promised and what is there."""

import ast
import inspect
import os
import pathlib
import signal
import subprocess
import sys

import tendon
from conftest import run_command, synth

PACKAGE = pathlib.Path(tendon.__file__).parent
CLIENT = pathlib.Path(__file__).parent / "typed_client.py"


def test_types_hold():
    line = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, str(CLIENT),
            str(PACKAGE)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (PACKAGE / "py.typed").exists()


def test_the_stub_is_the_module():
    tree = ast.parse((PACKAGE / "_core.pyi").read_text())
    stubs = {n.name: n for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    real = {n for n, v in vars(tendon._core).items()
            if inspect.isclass(v) or (callable(v) and not n.startswith("__"))}
    assert set(stubs) == real
    for name, node in stubs.items():
        if not isinstance(node, ast.ClassDef) or name in ("Error", "PinRule"):
            continue
        promised = {n.name if isinstance(n, ast.FunctionDef) else n.target.id
                    for n in node.body if isinstance(n, (ast.FunctionDef, ast.AnnAssign))}
        members = {n for n in vars(getattr(tendon._core, name)) if not n.startswith("_")}
        assert promised - {"__init__"} == members, name
    rules = {n.targets[0].id for n in stubs["PinRule"].body if isinstance(n, ast.Assign)}
    assert rules == set(tendon._core.PinRule.__members__)


def test_docstrings_state_shapes():
    for thing in (tendon, tendon.load, tendon.Policy, tendon.Policy.infer, tendon.Policy.reset):
        assert thing.__doc__
    assert "[horizon, width]" in tendon.Policy.infer.__doc__


def python_command(*arguments):
    line = [sys.executable, "-m", "tendon", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True)


def test_the_module_is_the_command():
    for arguments in (["--version"], ["contracts"], ["run", "/nowhere"], ["frobnicate"], []):
        done, wanted = python_command(*arguments), run_command(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (
            wanted.returncode, wanted.stdout, wanted.stderr)
    assert tendon.__version__ == python_command("--version").stdout.strip()


READY = """
import sys, types
from tendon import __main__ as command
real = command._core.run_command

def run(arguments):
    print("ready", flush=True)
    return real(arguments)

command._core = types.SimpleNamespace(run_command=run)
sys.exit(command.main())
"""


def test_ctrl_c_ends_the_command():
    folder = synth("slow", "pi05")
    line = [sys.executable, "-c", READY, "bench", str(folder), "--runs", "100000000"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdout.readline() == b"ready\n"
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        assert running.wait(120) == -signal.SIGINT
