"""Builds the wheel, unpacks it far from the tree, and runs it there.

wheel_test.py SOURCE WORK TENDON; CC and CXX name the compilers of the build, whose cache is used
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

MACHINE = re.compile(r'(ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv|libutil|libstdc\+\+'
                     r'|libgcc_s|libnv.*|libcu.*|linux-vdso|libpython.*)\.so')
SCRIPT = """
import pathlib, sys
import numpy as np
import tendon
policy = tendon.load(sys.argv[1], threads=1)
picture = np.full((96, 96, 3), 90, np.uint8)
result = policy.infer({"observation/image": picture, "observation/wrist_image": picture,
                       "observation/state": np.zeros(8), "prompt": "pick"}, seed=1)
assert np.isfinite(result["actions"]).all()
print(pathlib.Path(tendon.__file__).parent)
"""


def run(*line, **options):
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f'{" ".join(map(str, line))}\n{done.stdout}{done.stderr}')
    return done.stdout


def libraries(module):
    """(name, path) of all that the loader would load with `module`."""
    for line in run('ldd', module).splitlines():
        match = re.match(r'\s*(\S+) => (\S+)', line)
        if match:
            yield match[1], match[2]


def check_self_contained(package):
    module, = package.glob('_core*.so')
    for name, path in libraries(module):
        inside = pathlib.Path(path).resolve().is_relative_to(package)
        if path == 'not' or not (inside or MACHINE.match(name)):
            sys.exit(f'{module.name} takes {name} from {path}: it belongs into the wheel')
    return module


def main():
    source, work, tendon = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(work / 'out', ignore_errors=True)
    out, site = work / 'out', work / 'out' / 'site'
    out.mkdir(parents=True)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--no-input']
    # The build folder stays: a second run links only.
    run(*pip, 'wheel', source, '--no-deps', '--no-build-isolation', '--no-index', '-w', out,
        '-C', f'build-dir={work / "build"}',
        '-C', f'cmake.define.Python_EXECUTABLE={sys.executable}')
    wheel, = out.glob('tendon-*.whl')
    run(*pip, 'install', '--no-deps', '--no-index', '--target', site, wheel)
    module = check_self_contained(site / 'tendon')

    environment = {k: v for k, v in os.environ.items() if k != 'LD_LIBRARY_PATH'}
    environment['PYTHONPATH'] = str(site)
    options = {'cwd': '/', 'env': environment}
    assert run(sys.executable, '-m', 'tendon', '--version', **options) == run(tendon, '--version')
    model = out / 'model'
    run(sys.executable, '-m', 'tendon', 'synth', 'pi05', '--out', model, **options)
    package = run(sys.executable, '-c', SCRIPT, model, **options).strip()
    assert package == str(site / 'tendon'), package
    for name in ('py.typed', '_core.pyi'):
        assert (site / 'tendon' / name).exists(), name
    megabytes = wheel.stat().st_size / 1e6
    print(f'{wheel.name}: {megabytes:.1f} MB, {module.name} and '
          f'{len(list((site / "tendon" / "lib").iterdir()))} libraries')


if __name__ == '__main__':
    main()
