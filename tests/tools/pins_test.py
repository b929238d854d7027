import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class PinsTest(unittest.TestCase):
    def test_the_wheel_and_the_build_take_the_same_packages(self):
        project = (ROOT / 'pyproject.toml').read_text()
        wheel = re.findall(r'"([^"]+)"', re.search(r'^requires = \[(.*)\]', project, re.M)[1])
        packages = (ROOT / 'tools/python-packages.txt').read_text()
        build = packages.split('# [bindings]')[1].split('# [')[0].splitlines()[1:]
        self.assertEqual(len(wheel), 2)
        for pin in wheel:
            self.assertRegex(pin, r'^[\w-]+==[\d.]+$')
            self.assertIn(pin, build)


if __name__ == '__main__':
    unittest.main()
