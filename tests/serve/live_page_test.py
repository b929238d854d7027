#!/usr/bin/env python3
"""The live page in headless Chromium, while a client talks to the server.

    live_page_test.py TENDON WORK [SCREENSHOT]

Checks, in the page as the browser has drawn it, that pictures, chunk, stages, figures and hashes
are there and that no script failed. Exit code 77 where Chromium or openpi-client is missing.
"""

import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import openpi_client_test as client_test  # exits with 77 where openpi-client is missing

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent


def talk(port, stop):
    client = client_test.connect(port, 'libero')
    observed = client_test.observation('libero')
    for key, name in (('observation/image', 'base.png'), ('observation/wrist_image', 'wrist.jpg')):
        observed[key] = np.asarray(Image.open(ROOT / 'assets/pictures' / name).convert('RGB'))
    tick = 0
    while not stop.wait(0.05):
        tick += 1
        observed['observation/state'] = 0.3 * np.sin(0.1 * tick + np.arange(8))
        client.infer(observed)


def chromium(browser, work, port, *what):
    command = [browser, '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
               '--disable-dev-shm-usage', '--hide-scrollbars', '--force-device-scale-factor=1',
               f'--user-data-dir={work / "profile"}', '--window-size=1280,1500',
               '--enable-logging=stderr', '--virtual-time-budget=12000', *what,
               f'http://127.0.0.1:{port}/?policy=libero']
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=150)


def check_page(dom, log):
    assert not re.search(r'CONSOLE.*(Uncaught|SyntaxError|TypeError)', log), log
    updates = int(re.search(r'data-updates="(\d+)"', dom)[1])
    assert updates >= 2, f'{updates} updates'
    wanted = ['observation/image', 'observation/wrist_image', 'put the bowl on the plate',
              'pi05_libero', 'vision', 'prefix', 'denoise', 'end to end', 'sha256 ',
              'class="state ready"']
    missing = [w for w in wanted if w not in dom]
    assert not missing, f'the page lacks {missing}'
    assert dom.count('<span>a6</span>') == 1, 'not one plot for each action dimension'
    print(f'the page was drawn {updates} times; {dom.count("<canvas")} canvases')


def check_screenshot(path):
    pixels = np.asarray(Image.open(path).convert('RGB')).reshape(-1, 3)
    colours = len(np.unique(pixels, axis=0))
    assert colours > 2000, f'only {colours} colours: there are no pictures on the page'


def main():
    browser = shutil.which('chromium')
    if browser is None:
        print('skipped: chromium is missing; get it with `tools/install_deps.sh browser`')
        return 77
    tendon, work = Path(sys.argv[1]), Path(sys.argv[2])
    shot = Path(sys.argv[3]) if len(sys.argv) > 3 else work / 'live.png'
    work.mkdir(parents=True, exist_ok=True)
    model = client_test.make_model(tendon, 'libero', work)
    server, port = client_test.start([tendon, 'serve', f'libero={model}'])
    stop = threading.Event()
    try:
        talker = threading.Thread(target=talk, args=(port, stop), daemon=True)
        talker.start()
        page = chromium(browser, work, port, '--dump-dom')
        check_page(page.stdout, page.stderr)
        chromium(browser, work, port, f'--screenshot={shot.resolve()}')
        check_screenshot(shot)
        stop.set()
        talker.join(20)
    finally:
        stop.set()
        server.kill()
    return 0


if __name__ == '__main__':
    sys.exit(main())
