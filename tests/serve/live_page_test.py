#!/usr/bin/env python3
"""The live page in headless Chromium, while a client talks to the server.

    live_page_test.py TENDON WORK [SCREENSHOT]

Checks, in the page as the browser has drawn it, that pictures, chunk, stages, figures and hashes
are there and that no script failed. Exit code 77 where Chromium or openpi-client is missing.
"""

import shutil
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import openpi_client_test as client_test  # exits with 77 where openpi-client is missing

import browser
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent


def read_picture(name):
    return np.asarray(Image.open(ROOT / 'assets/pictures' / name).convert('RGB'))


def talk(port, stop):
    client = client_test.connect(port, 'libero')
    observed = client_test.observation('libero')
    observed['observation/image'] = read_picture('base.png')
    observed['observation/wrist_image'] = read_picture('wrist.jpg')
    tick = 0
    while not stop.wait(0.05):
        tick += 1
        observed['observation/state'] = 0.3 * np.sin(0.1 * tick + np.arange(8))
        client.infer(observed)


def check_page(page):
    dom = page.evaluate('document.documentElement.outerHTML')
    wanted = ['observation/image', 'observation/wrist_image', 'put the bowl on the plate',
              'pi05_libero', 'vision', 'prefix', 'denoise', 'end to end', 'sha256 ',
              'class="state ready"']
    missing = [w for w in wanted if w not in dom]
    assert not missing, f'the page lacks {missing}'
    plots = page.evaluate("document.querySelectorAll('#chunk canvas').length")
    assert plots == 7, f'{plots} plots for 7 action dimensions'
    # The wrist picture of the page against the file that the client sent.
    shown = page.evaluate("""(() => {
      const c = document.querySelectorAll('#pictures canvas')[1];
      return [c.width, c.height, ...c.getContext('2d').getImageData(0, 0, 1, 1).data];
    })()""")
    sent = read_picture('wrist.jpg')
    step = -(-max(sent.shape[:2]) // 320)
    assert shown[:2] == [-(-sent.shape[1] // step), -(-sent.shape[0] // step)], shown
    assert shown[2:5] == sent[0, 0].tolist(), (shown, sent[0, 0])
    assert not page.errors, page.errors


def check_screenshot(path):
    pixels = np.asarray(Image.open(path).convert('RGB')).reshape(-1, 3)
    colours = len(np.unique(pixels, axis=0))
    assert colours > 2000, f'only {colours} colours: there are no pictures on the page'


def main():
    program = shutil.which('chromium')
    if program is None:
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
        page = browser.Page(program, work / 'profile', f'http://127.0.0.1:{port}/?policy=libero',
                            (1280, 1560))
        try:
            page.wait_for("Number(document.body && document.body.dataset.updates || 0) >= 8 && "
                          "document.querySelectorAll('#pictures canvas').length == 2")
            check_page(page)
            page.screenshot(shot)
        finally:
            page.close()
        check_screenshot(shot)
        stop.set()
        talker.join(20)
    finally:
        stop.set()
        server.kill()
    return 0


if __name__ == '__main__':
    sys.exit(main())
