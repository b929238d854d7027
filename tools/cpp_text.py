"""Reading C++ sources as text: what the house's checks share."""

import re
import subprocess
from pathlib import Path

_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\\ ]{0,16})\(.*?\)(?P=d)"'
    r'|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'',
    re.S)


def _blank(text):
    return re.sub(r'[^\n]', ' ', text)


def without_comments(text):
    """Comments become blanks; lines and columns stay."""
    return _TOKEN.sub(lambda m: _blank(m[0]) if m[0][:2] in ('//', '/*') else m[0], text)


def code_only(text):
    """Comments, and what is inside of string and character literals, become blanks."""
    def replace(match):
        token = match[0]
        if token[:2] in ('//', '/*'):
            return _blank(token)
        return token[0] + _blank(token[1:-1]) + token[-1]
    return _TOKEN.sub(replace, text)


def line_of(text, position):
    return text.count('\n', 0, position) + 1


def tracked(root, suffixes):
    """Files of the repository with these suffixes: tracked or new, never ignored ones. Outside of a
    repository (the tools' own tests): all files."""
    root = Path(root)
    if (root / '.git').exists():
        # A checkout may belong to another user than the one who checks it.
        git = ['git', '-c', 'safe.directory=*', '-C', str(root)]
        command = git + ['ls-files', '-z', '-c', '-o', '--exclude-standard']
        out = subprocess.run(command, check=True, capture_output=True).stdout
        files = [root / name.decode() for name in out.split(b'\0') if name]
    else:
        files = list(root.rglob('*'))
    return sorted(f for f in set(files) if f.suffix in suffixes and f.is_file())
