import subprocess
import sys
from pathlib import Path

from fixture import TreeTest

import check_layers

CMAKE = '''
tendon_layer(base LINK fmt::fmt)
tendon_layer(ops NEEDS base)
tendon_layer(weights NEEDS base)
tendon_layer(models NEEDS ops weights)
tendon_layer(reference DIR backends/reference NEEDS ops)
tendon_layer(cpu DIR backends/cpu NEEDS ops TEST_LINK tendon_reference)
tendon_layer(engine NEEDS models reference cpu)
tendon_layer(cli NEEDS engine)
'''


class CheckLayersTest(TreeTest):
    def setUp(self):
        super().setUp()
        self.write('CMakeLists.txt', CMAKE)

    def violations(self, path, text):
        self.write(path, text)
        return check_layers.Checker(self.root).run()

    def accepted(self, path, text):
        self.assertEqual(self.violations(path, text), [])

    def refused(self, path, text, words):
        found = self.violations(path, text)
        self.assertEqual(len(found), 1, found)
        self.assertIn(words, found[0])
        self.assertTrue(found[0].startswith(path + ':'), found[0])

    def test_down_and_transitive_includes(self):
        self.accepted('src/models/a.cpp', '#include "base/str.h"\n#include "models/a.h"\n'
                      '#include "tendon/error.h"\n#include <vector>\n')

    def test_up(self):
        self.refused('src/base/a.cpp', '\n#include "ops/trace.h"\n', 'does not need ops')

    def test_across(self):
        self.refused('src/weights/a.cpp', '#include "ops/trace.h"\n', 'does not need ops')

    def test_line_number(self):
        found = self.violations('src/base/a.cpp', '// one\n\n#include "ops/trace.h"\n')
        self.assertTrue(found[0].startswith('src/base/a.cpp:3:'))

    def test_include_in_a_comment_is_none(self):
        self.accepted('src/base/a.cpp', '/*\n#include "ops/trace.h"\n*/\n')

    def test_engine_sees_a_backend(self):
        self.accepted('src/engine/a.cpp', '#include "backends/cpu/cpu.h"\n')

    def test_backend_seen_by_a_test_that_links_it(self):
        self.accepted('src/backends/cpu/a_test.cpp', '#include "backends/reference/reference.h"\n')

    def test_backend_seen_by_a_backend(self):
        self.refused('src/backends/cpu/a.cpp', '#include "backends/reference/reference.h"\n',
                     'does not need reference')

    def test_backend_seen_by_a_layer_that_says_it_needs_it(self):
        self.write('CMakeLists.txt', CMAKE + 'tendon_layer(policy NEEDS cpu)\n')
        self.refused('src/policy/a.cpp', '#include "backends/cpu/cpu.h"\n', 'only engine and tests')

    def test_behind_the_engine(self):
        self.refused('src/cli/a.cpp', '#include "models/model.h"\n', 'does not need models')

    def test_inside_of_the_engine(self):
        self.refused('src/cli/a.cpp', '#include "engine/compose.h"\n', 'of the engine only')
        self.accepted('src/cli/a.cpp', '#include "engine/inspect.h"\n')

    def test_relative_include(self):
        self.refused('src/base/a.cpp', '#include "str.h"\n', 'write the path from src/')

    def test_public_header_includes_a_layer(self):
        self.refused('include/tendon/a.h', '#include "base/str.h"\n', 'a public header')

    def test_device_folder(self):
        self.write('CMakeLists.txt', CMAKE + 'tendon_layer(cuda DIR backends/cuda NEEDS ops)\n')
        self.refused('src/backends/cuda/device/a.cuh', '#include "ops/ops.h"\n', 'device/')
        self.accepted('src/backends/cuda/device/a.cuh',
                      '#include "backends/cuda/device/b.cuh"\n#if __CUDA_ARCH__ >= 900\n#endif\n')

    def test_file_without_a_layer(self):
        self.refused('src/stray/a.cpp', '#include "base/str.h"\n', 'in no layer')

    def test_support_of_tests(self):
        self.accepted('src/base/a_test.cpp', '#include "tests/support/golden.h"\n')
        self.refused('src/base/a.cpp', '#include "tests/support/golden.h"\n', 'in no layer')

    def test_circle(self):
        self.write('CMakeLists.txt', 'tendon_layer(base NEEDS ops)\ntendon_layer(ops NEEDS base)\n')
        self.assertIn('need each other', check_layers.Checker(self.root).run()[0])

    def test_unknown_need(self):
        self.write('CMakeLists.txt', 'tendon_layer(base NEEDS basement)\n')
        self.assertIn('no such layer', check_layers.Checker(self.root).run()[0])

    def test_preprocessor_in_a_header(self):
        self.refused('src/base/a.h', '#pragma once\n#ifdef __AVX2__\n#endif\n', 'preprocessor')
        self.accepted('src/base/a.h', '#ifndef A_H\n#define A_H\n#endif\n')
        self.accepted('src/base/a.cpp', '#ifdef __AVX2__\n#endif\n')

    def test_cuda_tested_in_two_files(self):
        self.write('src/engine/a.cpp', '#ifdef TENDON_CUDA\n#endif\n')
        self.refused('src/engine/b.cpp', '#if defined(TENDON_CUDA)\n#endif\n', 'TENDON_CUDA')

    def test_getenv(self):
        self.refused('src/base/a.cpp', 'auto v = std::getenv("X");\n', 'environment')
        self.accepted('src/base/a.cpp', '// getenv\nauto v = "getenv";\n')
        self.accepted('src/cli/a.cpp', 'auto v = std::getenv("X");\n')

    def test_printing(self):
        for text in ('std::cout << 1;', 'printf("x");', 'std::fprintf(stderr, "x");',
                     'fmt::print("x");', 'puts("x");'):
            self.refused('src/ops/a.cpp', text + '\n', 'printed')
            self.accepted('src/ops/a.cpp', '\n')
            self.accepted('src/cli/a.cpp', text + '\n')
        self.accepted('src/ops/a.cpp', 'snprintf(b, 9, "x"); out.print(1); log.puts(1);\n')

    def test_model_names(self):
        for text in ('int pi05_rows();', 'auto s = "LingBot";', 'struct FastWam {};', 'int pi0;'):
            self.refused('src/ops/a.cpp', text + '\n', 'model')
            self.accepted('src/ops/a.cpp', '// ' + text + '\nint api01 = 0;\n')
            self.accepted('src/models/a.cpp', text + '\n')

    def test_device_names(self):
        self.refused('src/models/a.cpp', 'int cuda_rows();\n', 'device')
        self.refused('src/models/a.cpp', 'auto s = "avx512";\n', 'device')
        self.accepted('src/models/a.cpp', 'int barracuda = 0;\n')
        self.accepted('src/backends/cpu/a.cpp', 'int cuda_rows();\n')
        self.accepted('src/engine/a.cpp', 'int cuda_rows();\n')
        self.accepted('src/models/a_test.cpp', 'int cuda_rows();\n')

    def test_exit_status(self):
        tool = Path(check_layers.__file__)
        command = [sys.executable, str(tool), '--root', str(self.root)]
        self.assertEqual(subprocess.run(command, capture_output=True).returncode, 0)
        self.write('src/base/a.cpp', '#include "ops/trace.h"\n')
        self.assertEqual(subprocess.run(command, capture_output=True).returncode, 1)
