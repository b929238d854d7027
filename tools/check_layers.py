#!/usr/bin/env python3
"""Checks what the compiler does not: who includes whom, and where certain words may stand.

The NEEDS of each tendon_layer() in CMakeLists.txt and cmake/ say which layers a layer may include
(what those need is included too). Every exception from the other rules is in a table below, with
its reason. Prints one line for each violation; exit status 1 if there is any.
"""

import argparse
import re
import sys
from pathlib import Path

import cpp_text

HEADERS = ('.h', '.hpp', '.cuh')
SOURCES = HEADERS + ('.cpp', '.inl', '.cu', '.c')

# Above the engine the code is a user of the public API. These headers of it are open all the same.
ENGINE_SURFACE = {
    'engine/inspect.h': 'traces, plans and weights, for programs that look inside',
    'engine/backends.h': 'which backends there are, for commands that are told a device',
    'engine/synth.h': 'checkpoints with generated weights, for the command and for tests',
    'engine/blank_scene.h': 'an observation for warming up, for the C ABI and the server',
    'engine/convert.h': 'PyTorch files rewritten, for the command',
    'engine/golden.h': 'recordings of the original code, replayed by the command and by tests',
}

BACKEND_USERS = {
    'engine': 'the composition root',
}

# What device code may include from outside of its folder.
DEVICE_INCLUDES = {
    'base/dtype.h': 'an enumeration that both sides of a launch speak',
}
# Path prefix -> why the rule does not hold there.
PREPROCESSOR_ALLOWED = {
    'include/tendon/tendon_c.h': 'a C header, read by C++ too',
    'src/backends/cuda/device/': 'one header serves several device architectures',
}
GETENV_ALLOWED = {
    'src/cli/': 'the one place that reads the environment',
    'tests/': 'tests are programs',
}
PRINT_ALLOWED = {
    'src/cli/': 'the one place that prints',
    'tests/': 'programs',
    'bench/': 'programs',
    'tools/': 'programs',
    'examples/': 'programs',
}
MODEL_ALLOWED = {
    'src/models/': 'where models live',
    'src/preprocess/contract': 'a contract bears the name of its checkpoint',
    'src/cli/': 'help texts and examples',
    'tests/': 'tests name what they test',
    'bench/': 'rows of the shapes table name the model that has them',
    'examples/': 'an example loads something',
}
DEVICE_ALLOWED = {
    'src/backends/': 'where devices live',
    'src/engine/': 'the composition root chooses the backend',
    'src/preprocess/resize': 'picture loops for an instruction set, chosen at run time',
    'src/sim/ray_caster': 'picture loops for an instruction set, chosen at run time',
    'src/cli/': 'help texts and examples',
    'tests/': 'tests name what they test',
    'bench/': 'benchmarks name what they measure',
}

MODEL_WORD = re.compile(r'pi05|pi0(?![0-9])|pi0_5|lingbot|fast_?wam', re.I)
DEVICE_WORD = re.compile(r'(?<![a-z])(cuda|onednn|dnnl|avx\w*|amx\w*|cublas\w*|cudnn\w*)(?![a-z])',
                         re.I)
PRINTING = re.compile(r'std::(cout|cerr|clog)\b|(?<![\w.>])(std::)?(f|v|vf)?printf\s*\('
                      r'|\bfmt::print\s*\(|(?<![\w.>])(std::)?f?puts\s*\(|\bperror\s*\(')
CONDITIONAL = re.compile(r'^[ \t]*#[ \t]*(if|ifdef|ifndef)\b(.*)$', re.M)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.M)


class Layer:
    def __init__(self, name, directory, needs, test_needs):
        self.name, self.directory = name, directory
        self.needs, self.test_needs = needs, test_needs


def read_layers(root):
    """{name: Layer} from every tendon_layer(...) call."""
    layers = {}
    files = [root / 'CMakeLists.txt'] + sorted((root / 'cmake').glob('*.cmake'))
    files += sorted((root / 'src').rglob('CMakeLists.txt'))
    for file in files:
        if not file.exists():
            continue
        text = re.sub(r'#[^\n]*', '', file.read_text())
        for call in re.finditer(r'(?<!\()\btendon_layer\(([^)]*)\)', text):
            layer = parse_layer(call[1].split())
            layers[layer.name] = layer
    return layers


def parse_layer(words):
    parts, key = {'NAME': []}, 'NAME'
    for word in words:
        if word in ('DIR', 'NEEDS', 'LINK', 'TEST_LINK', 'DEFINES'):
            key = word
            parts[key] = []
        else:
            parts[key].append(word)
    name = parts['NAME'][0]
    strip = 'tendon_'
    test_needs = [w.removeprefix(strip) for w in parts.get('TEST_LINK', []) if w.startswith(strip)]
    return Layer(name, parts.get('DIR', [name])[0], parts.get('NEEDS', []), test_needs)


def reachable(layers, name):
    """The layer, what it needs, and what those need; nothing behind the engine from above it."""
    seen, open_ = set(), [name]
    while open_:
        layer = open_.pop()
        if layer in seen or layer not in layers:
            continue
        seen.add(layer)
        if layer == 'engine' and name != 'engine':
            continue
        open_ += layers[layer].needs
    return seen


def layer_of(layers, inside_src):
    """The layer with the longest directory that holds the path."""
    holders = [x for x in layers.values() if inside_src.startswith(x.directory + '/')]
    return max(holders, key=lambda x: len(x.directory)).name if holders else None


class Checker:
    def __init__(self, root):
        self.root = Path(root)
        self.layers = read_layers(self.root)
        self.violations = []

    def report(self, path, line, message):
        self.violations.append(f'{path}:{line}: {message}')

    def run(self):
        self.check_needs()
        cuda_files = []
        for file in cpp_text.tracked(self.root, SOURCES):
            path = file.relative_to(self.root).as_posix()
            text = file.read_text(errors='replace')
            code = cpp_text.without_comments(text)
            self.check_includes(path, code)
            self.check_conditionals(path, code)
            self.check_words(path, code)
            if re.search(r'^[ \t]*#[ \t]*(if|ifdef|ifndef|elif)\b.*\bTENDON_CUDA\b', code, re.M):
                cuda_files.append(path)
        for path in cuda_files[1:]:
            self.report(path, 1, f'TENDON_CUDA is tested here and in {cuda_files[0]}; one file may')
        return self.violations

    def check_needs(self):
        for layer in self.layers.values():
            for need in layer.needs + layer.test_needs:
                if need not in self.layers and need != 'cuda':
                    self.report('CMakeLists.txt', 1, f'{layer.name} needs {need}: no such layer')
                elif need in self.layers and layer.name in reachable(self.layers, need):
                    self.report('CMakeLists.txt', 1, f'{layer.name} and {need} need each other')

    def check_includes(self, path, code):
        for match in INCLUDE.finditer(code):
            message = self.include_fault(path, match[1])
            if message:
                self.report(path, cpp_text.line_of(code, match.start()), message)

    def include_fault(self, path, target):
        if target.startswith('tendon/'):
            return None  # the public headers include nothing of src, so anyone may have them
        if path.startswith('include/'):
            return f'a public header includes "{target}"'
        if path.startswith('examples/'):
            return f'an example includes "{target}": examples use include/tendon only'
        if not path.startswith('src/'):
            return None
        inside = path.removeprefix('src/')
        if target.startswith('tests/support/') and re.search(r'_test\.\w+$', path):
            return None
        own, other = layer_of(self.layers, inside), layer_of(self.layers, target)
        if own is None:
            return 'this file is in no layer of CMakeLists.txt'
        if other is None:
            return f'"{target}" is in no layer; write the path from src/'
        device = 'backends/cuda/device/'
        outside = not target.startswith(device) and target not in DEVICE_INCLUDES
        if inside.startswith(device) and outside:
            return f'"{target}": device/ includes nothing outside itself'
        return self.layer_fault(inside, own, other, target)

    def layer_fault(self, inside, own, other, target):
        backend = self.layers[other].directory.startswith('backends/')
        if own == other or (backend and own in BACKEND_USERS):
            return None
        allowed = reachable(self.layers, own)
        if re.search(r'_test\.\w+$', inside):
            for need in self.layers[own].test_needs:
                allowed |= reachable(self.layers, need)
            if other in self.layers[own].test_needs:
                return None
        if other not in allowed:
            return f'layer {own} includes "{target}", but does not need {other}'
        if backend:
            return f'layer {own} includes "{target}": only engine and tests see a backend'
        if other == 'engine' and target not in ENGINE_SURFACE:
            return f'layer {own} includes "{target}": of the engine only {list(ENGINE_SURFACE)}'
        return None

    def check_conditionals(self, path, code):
        if not path.endswith(HEADERS) or allowed_at(path, PREPROCESSOR_ALLOWED):
            return
        for match in CONDITIONAL.finditer(code):
            define = r'\s*#\s*define\s+' + re.escape(match[2].strip()) + r'\b'
            guard = match[1] == 'ifndef' and re.match(define, code[match.end():])
            if not guard:
                self.report(path, cpp_text.line_of(code, match.start()),
                            'a header does not ask the preprocessor')

    def check_words(self, path, code):
        if not path.startswith(('src/', 'include/', 'examples/', 'bench/')):
            return
        if re.search(r'_(test|fuzz)\.\w+$', path):
            return
        bare = cpp_text.code_only(code)
        rules = [
            (GETENV_ALLOWED, bare, re.compile(r'\bgetenv\b'), 'the environment is read'),
            (PRINT_ALLOWED, bare, PRINTING, 'something is printed'),
            (MODEL_ALLOWED, code, MODEL_WORD, 'a model is named'),
        ]
        if above_backends(path):
            rules.append((DEVICE_ALLOWED, code, DEVICE_WORD, 'a device is named'))
        for allowed, text, pattern, what in rules:
            if allowed_at(path, allowed):
                continue
            for match in pattern.finditer(text):
                self.report(path, cpp_text.line_of(text, match.start()), f'{what}: {match[0]}')


def above_backends(path):
    below = ('src/base/', 'src/ops/', 'src/weights/')
    return path.startswith('src/') and not path.startswith(below)


def allowed_at(path, table):
    return any(path.startswith(prefix) for prefix in table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default=Path(__file__).resolve().parent.parent)
    violations = Checker(parser.parse_args().root).run()
    print('\n'.join(violations + [f'layers: {len(violations)} violations']))
    return 1 if violations else 0


if __name__ == '__main__':
    sys.exit(main())
