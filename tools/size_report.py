#!/usr/bin/env python3
"""Prints lines per folder beside their budgets, and fails where a size limit is broken.

Fails: files over 600 lines, functions over 80 (device kernels 120), lines over 100 columns, folders
of model families over their limit; in headers also more than 5 parameters and boolean parameters.
Warns from 400 and 40 lines on.
"""

import argparse
import re
import sys
from pathlib import Path

import cpp_text

FILE_LIMIT, FILE_GOAL = 600, 400
FUNCTION_LIMIT, FUNCTION_GOAL, KERNEL_LIMIT = 80, 40, 120
PARAMETER_LIMIT = 5
COLUMN_LIMIT = 100

CPP = ('.h', '.hpp', '.cpp', '.inl', '.cu', '.cuh', '.c')
OTHER = ('.py', '.sh', '.cmake')

# Lines of code (tests aside), from the design. A folder counts what no deeper row counts.
BUDGETS = {
    'include/tendon': 600, 'src/base': 1200, 'src/ops': 1000, 'src/backends/reference': 900,
    'src/backends/cpu': 2500, 'src/backends/cuda': 7500, 'src/weights': 1500, 'src/nn': 1500,
    'src/models': 4000, 'src/preprocess': 1500, 'src/policy': 1500, 'src/runtime': 1300,
    'src/engine': 500, 'src/server': 2500, 'src/wire': 1200, 'src/sim': 900,
    'src/measure': 1500, 'src/cli': 1300,
    'src/python': 700,
}

# Folders of model families, which fail over their limit: docs/decisions/0004.
FAMILY_LIMITS = {
    'src/models/pi05': 700, 'src/models/lingbot_vla': 700, 'src/models/fastwam': 1160,
}

# Header functions whose boolean parameter is right, and why.
BOOLEAN_ALLOWED = {
    'src/base/error.h:require': 'the condition that is required',
}

_SCOPE = re.compile(r'\b(namespace|class|struct|union|enum|extern)\b')
# What may stand before a declaration without a semicolon: access, a macro call on its own lines.
_NOT_HEAD = re.compile(
    r'\s*((public|private|protected)\s*:\s*|[A-Z][A-Z0-9_]*\([^()]*\)[ \t]*\n\s*(?=[\w\[]))*')
_CTOR_LIST = re.compile(r'\)\s*(noexcept(\([^()]*\))?\s*)?:(?!:)')


class Function:
    def __init__(self, head, first, last):
        self.head, self.first, self.last = head, first, last

    @property
    def name(self):
        match = re.search(r'([~\w:]+|operator\s*\S+?)\s*\(', self.head)
        name = match[1] if match else self.head[:30]
        if name in ('TEST', 'TEST_F', 'TEST_P', 'TYPED_TEST', 'BENCHMARK_F'):
            name = re.sub(r'\s+', '', self.head[match.start():])
        return name

    @property
    def limit(self):
        return KERNEL_LIMIT if re.search(r'\b__(global|device)__\b', self.head) else FUNCTION_LIMIT


def without_directives(code):
    return re.sub(r'^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', lambda m: re.sub(r'[^\n]', ' ', m[0]), code,
                  flags=re.M)


def matching(code, start):
    """Position of the bracket that closes the one at `start`; the end where none does."""
    depth, close = 0, {'{': '}', '(': ')', '[': ']'}[code[start]]
    for i in range(start, len(code)):
        if code[i] == code[start]:
            depth += 1
        elif code[i] == close:
            depth -= 1
            if depth == 0:
                return i
    return len(code) - 1


def is_function(head):
    head = re.sub(r'operator\s*(\(\)|[^\s\w(]+)', 'operator_', head)
    before = head.split('(')[0]
    if '(' not in head or re.search(r'(?<![=!<>])=(?!=)', before) or head.rstrip().endswith('='):
        return False
    outside = re.sub(r'\([^()]*\)', '', re.sub(r'template\s*<[^{}]*?>(?=\s*\w)', '', before))
    return not _SCOPE.search(outside) or re.search(r'extern\s+"', before) is not None


def declarations(code):
    """Yields (head, start, body) of each declaration at namespace or class scope; body is the
    position of a function's opening brace, or None."""
    i = start = 0
    while i < len(code):
        c = code[i]
        if c == '(':
            i = matching(code, i)
        elif c == ';' or c == '}':
            if c == ';':
                start += _NOT_HEAD.match(code[start:i]).end()
                yield code[start:i], start, None
            start = i + 1
        elif c == '{':
            start += _NOT_HEAD.match(code[start:i]).end()
            head = code[start:i]
            if is_function(head):
                if _CTOR_LIST.search(head) and re.search(r'[\w>]\s*$', head):
                    i = matching(code, i) + 1
                    continue
                yield head, start, i
                i = matching(code, i)
                start = i + 1
            elif _SCOPE.search(head) and not head.rstrip().endswith('='):
                start = i + 1
            else:
                i = matching(code, i)
        i += 1


def functions(code):
    code = without_directives(cpp_text.code_only(code))
    for head, start, body in declarations(code):
        if body is not None:
            yield Function(head, cpp_text.line_of(code, start),
                           cpp_text.line_of(code, matching(code, body)))


def split_parameters(text):
    parts, depth, part = [], 0, ''
    for c in text:
        depth += (c in '<([{') - (c in '>)]}')
        if c == ',' and depth == 0:
            parts.append(part)
            part = ''
        else:
            part += c
    return [p.strip() for p in parts + [part] if p.strip()]


def parameters(head):
    """Parameters of a function's declaration; None where `head` declares no function."""
    head = re.sub(r'operator\s*\(\)', 'operator_', head)
    head = re.sub(r'operator\s*[^\s\w(]+', 'operator_', head)
    head = re.sub(r'\[\[.*?\]\]|\b(alignas|decltype|explicit|requires)\s*\([^()]*\)', '', head)
    opening = head.find('(')
    before = head[:opening]
    if opening < 0 or re.search(r'(?<![=!<>])=(?!=)', before) or not re.search(r'\w\s*$', before):
        return None
    if re.search(r'\b(static_assert|using|typedef|return)\b', before):
        return None
    if before.count('<') != before.count('>'):
        return None
    return split_parameters(head[opening + 1:matching(head, opening)])


class Report:
    def __init__(self, root):
        self.root = Path(root)
        self.failures, self.warnings = [], []
        self.lines, self.test_lines, self.family_lines = {}, {}, {}

    def run(self):
        for file in cpp_text.tracked(self.root, CPP + OTHER):
            path = file.relative_to(self.root).as_posix()
            text = file.read_text(errors='replace')
            self.count(path, text)
            self.check_lines(path, text)
            if file.suffix in CPP:
                self.check_functions(path, text)
            if file.suffix in ('.h', '.hpp'):
                self.check_header(path, text)
        for folder, lines in self.family_lines.items():
            if lines > FAMILY_LIMITS[folder]:
                self.failures.append(
                    f'{folder}:1: {lines} lines, the family\'s limit is {FAMILY_LIMITS[folder]}')
        return self.failures

    def count(self, path, text):
        folder = next((f for f in BUDGETS if path.startswith(f + '/')), path.split('/')[0])
        is_test = re.search(r'_(test|fuzz)\.\w+$', path)
        table = self.test_lines if is_test else self.lines
        table[folder] = table.get(folder, 0) + text.count('\n')
        family = '/'.join(path.split('/')[:3])
        if family in FAMILY_LIMITS and not re.search(r'_test\.\w+$', path):
            self.family_lines[family] = self.family_lines.get(family, 0) + text.count('\n')

    def check_lines(self, path, text):
        lines = text.split('\n')
        if len(lines) - 1 > FILE_LIMIT:
            self.failures.append(f'{path}:1: {len(lines) - 1} lines, the limit is {FILE_LIMIT}')
        elif len(lines) - 1 > FILE_GOAL:
            self.warnings.append(f'{path}:1: {len(lines) - 1} lines, the goal is {FILE_GOAL}')
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMN_LIMIT:
                self.failures.append(f'{path}:{number}: {len(line)} columns of {COLUMN_LIMIT}')

    def check_functions(self, path, text):
        for function in functions(text):
            length = function.last - function.first + 1
            where = f'{path}:{function.first}: {function.name} has {length} lines'
            if length > function.limit:
                self.failures.append(f'{where}, the limit is {function.limit}')
            elif length > FUNCTION_GOAL and function.limit == FUNCTION_LIMIT:
                self.warnings.append(f'{where}, the goal is {FUNCTION_GOAL}')

    def check_header(self, path, text):
        code = without_directives(cpp_text.code_only(text))
        for head, start, _ in declarations(code):
            found = parameters(head)
            if found is None:
                continue
            line = cpp_text.line_of(code, start)
            name = Function(head, 0, 0).name
            if len(found) > PARAMETER_LIMIT:
                self.failures.append(f'{path}:{line}: {name} has {len(found)} parameters')
            boolean = any(re.match(r'(const\s+)?bool\b(?!\s*[*&(])', p) for p in found)
            if boolean and f'{path}:{name}' not in BOOLEAN_ALLOWED:
                self.failures.append(f'{path}:{line}: {name} has a boolean parameter')

    def table(self):
        rows = [f'{"folder":26}{"lines":>8}{"budget":>8}{"tests":>8}']
        for folder in list(BUDGETS) + sorted(set(self.lines) - set(BUDGETS)):
            lines, budget = self.lines.get(folder, 0), BUDGETS.get(folder)
            over = '  over' if budget and lines > budget else ''
            rows.append(f'{folder:26}{lines:8}{budget or "":>8}'
                        f'{self.test_lines.get(folder, 0):8}{over}')
        for folder, lines in sorted(self.family_lines.items()):
            rows.append(f'  {folder:24}{lines:8}{FAMILY_LIMITS[folder]:>8}')
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--root', default=Path(__file__).resolve().parent.parent)
    parser.add_argument('--warnings', action='store_true', help='print what is over its goal too')
    arguments = parser.parse_args()
    report = Report(arguments.root)
    failures = report.run()
    print('\n'.join(report.table() + (report.warnings if arguments.warnings else []) + failures))
    print(f'size: {len(report.warnings)} over their goal, {len(failures)} over their limit')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
