"""A page in headless Chromium, driven through its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request

import websockets.sync.client


class Page:
    """Opens `url`; collects what its scripts complain of in `errors`."""

    def __init__(self, browser, profile, url, size):
        shutil.rmtree(profile, ignore_errors=True)
        self._process = subprocess.Popen(
            [browser, '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
             '--disable-dev-shm-usage', '--hide-scrollbars', '--remote-debugging-port=0',
             '--remote-allow-origins=*', f'--user-data-dir={profile}',
             f'--window-size={size[0]},{size[1]}', 'about:blank'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.errors, self._next = [], 0
        port = self._wait(lambda: (profile / 'DevToolsActivePort').read_text().split()[0])
        pages = self._wait(lambda: [p for p in json.loads(urllib.request.urlopen(
            f'http://127.0.0.1:{port}/json/list').read()) if p['type'] == 'page'])
        self._devtools = websockets.sync.client.connect(
            pages[0]['webSocketDebuggerUrl'], max_size=None, compression=None)
        self.call('Runtime.enable')
        self.call('Emulation.setDeviceMetricsOverride', width=size[0], height=size[1],
                  deviceScaleFactor=1, mobile=False)
        self.call('Page.navigate', url=url)

    @staticmethod
    def _wait(ask, seconds=90):
        end = time.monotonic() + seconds
        while True:
            try:
                found = ask()
                if found:
                    return found
            except OSError:
                pass
            if time.monotonic() > end:
                raise TimeoutError('the browser did not start')
            time.sleep(0.1)

    def call(self, method, **parameters):
        self._next += 1
        self._devtools.send(json.dumps(
            {'id': self._next, 'method': method, 'params': parameters}))
        while True:
            message = json.loads(self._devtools.recv(timeout=90))
            if message.get('method') == 'Runtime.exceptionThrown':
                self.errors.append(json.dumps(message['params']['exceptionDetails'])[:500])
            if message.get('id') == self._next:
                return message['result']

    def evaluate(self, expression):
        return self.call('Runtime.evaluate', expression=expression,
                         returnByValue=True)['result'].get('value')

    def wait_for(self, expression, seconds=90):
        """Until the expression is true in the page."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f'{expression}; errors: {self.errors}')
            time.sleep(0.1)

    def screenshot(self, path):
        data = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(data['data']))

    def close(self):
        self._devtools.close()
        self._process.kill()
        self._process.wait()
