"""The library shows the functions of the header and nothing else.

exports_test.py LIBRARY HEADER
"""
import re
import subprocess
import sys


def main():
    library, header = sys.argv[1:]
    listing = subprocess.run(['nm', '-D', '--defined-only', '--format=posix', library], check=True,
                             capture_output=True, text=True).stdout
    exported = {line.split()[0].split('@')[0] for line in listing.splitlines()}
    text = re.sub(r'/\*.*?\*/', '', open(header).read(), flags=re.S)
    declared = set(re.findall(r'^TENDON_API\b[^;(]*?\b(\w+)\(', text, flags=re.M))
    for name in sorted(exported ^ declared):
        print(f'{name} is {"exported" if name in exported else "declared"} only')
    print(f'{len(exported)} exported, {len(declared)} declared')
    return exported != declared or not declared


if __name__ == '__main__':
    sys.exit(main())
