import subprocess
import sys
from pathlib import Path

from fixture import TreeTest

import size_report


def body(lines):
    return '\n'.join(f'  x += {i};' for i in range(lines - 2))


def function(lines, head='void f(int x)'):
    return head + ' {\n' + body(lines) + '\n}\n'


def found(text):
    return [(f.name, f.last - f.first + 1) for f in size_report.functions(text)]


class FunctionsTest(TreeTest):
    def test_length_and_name(self):
        self.assertEqual(found(function(7)), [('f', 7)])

    def test_scopes_are_entered(self):
        text = 'namespace a::b {\nclass C final : public D {\n public:\n' + function(5) + '};\n}\n'
        self.assertEqual(found(text), [('f', 5)])

    def test_lambda_belongs_to_its_function(self):
        text = 'int f() {\n  auto g = [](int a) {\n    return a;\n  };\n  return g(1);\n}\n'
        self.assertEqual(found(text), [('f', 6)])

    def test_constructor_with_a_list(self):
        text = 'A::A(int a) : x_{a}, y_(std::move(a)), z_{1, 2} {\n  go();\n}\nint g() {\n}\n'
        self.assertEqual(found(text), [('A::A', 3), ('g', 2)])

    def test_braces_in_strings_and_comments(self):
        text = 'int f() {\n  a("}{{", \'{\');  // {{{\n  b(R"x({{)x");\n}\nint g() {\n}\n'
        self.assertEqual(found(text), [('f', 4), ('g', 2)])

    def test_data_is_no_function(self):
        self.assertEqual(found('const int kA[] = {\n1,\n};\nstd::vector<int> v{f(1),\n2};\n'
                               'const auto kB = make({1,\n2});\n'), [])

    def test_macro_calls_before_a_function(self):
        self.assertEqual(found('NAMES(A,\n  B)\nNAMES(C)\n\nint f() {\n}\n'), [('f', 2)])
        self.assertEqual(found('NAMES(C)\nnamespace {\nint f() {\n}\n}\n'), [('f', 2)])
        self.assertEqual(found('TEST(A, b)\n{\n}\n'), [('TEST(A,b)', 3)])

    def test_signature_over_lines_counts(self):
        self.assertEqual(found('int f(int a,\n      int b) const noexcept {\n}\n'), [('f', 3)])

    def test_templates_and_operators(self):
        text = ('template <class T>\nbool operator==(const T& a, const T& b) {\n}\n'
                'A& A::operator=(A&& o) {\n}\n')
        self.assertEqual([n for _, n in found(text)], [3, 2])

    def test_elaborated_parameter(self):
        self.assertEqual(found('P f(struct Q* q) {\n}\n'), [('f', 2)])

    def test_directive_with_a_brace(self):
        text = '#define OPEN {\n#define F(x) \\\n  { x\nint f() {\n}\n'
        self.assertEqual(found(text), [('f', 2)])


class SizeReportTest(TreeTest):
    def failures(self, path, text):
        self.write(path, text)
        return size_report.Report(self.root).run()

    def refused(self, path, text, words):
        failures = self.failures(path, text)
        self.assertEqual(len(failures), 1, failures)
        self.assertIn(words, failures[0])

    def accepted(self, path, text):
        self.assertEqual(self.failures(path, text), [])

    def test_file(self):
        self.accepted('src/base/a.cpp', '\n' * 600)
        self.refused('src/base/a.cpp', '\n' * 601, '601 lines')

    def test_function(self):
        self.accepted('src/base/a.cpp', function(80))
        self.refused('src/base/a.cpp', function(81), 'f has 81 lines')

    def test_kernel(self):
        head = '__global__ void __launch_bounds__(256) k(int x)'
        self.accepted('src/backends/cuda/k.cu', function(120, head))
        self.refused('src/backends/cuda/k.cu', function(121, head), 'the limit is 120')

    def test_columns(self):
        self.accepted('src/base/a.cpp', '/' * 100 + '\n')
        self.refused('src/base/a.cpp', '\n' + '/' * 101 + '\n', 'a.cpp:2: 101 columns')
        self.refused('src/base/a.cpp', '\n//' + 'é' * 99 + '\n', '101 columns')

    def test_parameters(self):
        self.accepted('src/base/a.h',
                      'void f(A<B, C> a, int b, int c, int (*d)(int, int), E e = {1});')
        self.refused('src/base/a.h', 'void f(int a, int b, int c, int d, int e, int f);', '6 param')
        self.refused('src/base/a.h', 'class A {\n public:\n  A(int a, int b, int c, int d, int e, '
                     'int f)\n : a_(a) {}\n};', '6 param')
        self.accepted('src/base/a.h', 'int v = f(1, 2, 3, 4, 5, 6);\n'
                      'inline int g() { return f(1, 2, 3, 4, 5, 6); }')

    def test_boolean_parameter(self):
        self.refused('src/base/a.h', 'struct A {\n  void f(int a, bool b = true) const;\n};',
                     'f has a boolean')
        self.refused('src/base/a.h', 'void f(const bool b);', 'boolean')
        self.accepted('src/base/a.h', 'void f(bool* b, F<bool(int)> g);\nbool g();\n'
                      'struct B { bool b = false; explicit operator bool() const; };')
        self.accepted('src/base/a.cpp', 'void f(bool b);')

    def test_exit_status(self):
        tool = Path(size_report.__file__)
        command = [sys.executable, str(tool), '--root', str(self.root)]
        self.write('src/base/a.cpp', function(80))
        self.assertEqual(subprocess.run(command, capture_output=True).returncode, 0)
        self.write('src/base/a.cpp', function(81))
        self.assertEqual(subprocess.run(command, capture_output=True).returncode, 1)
