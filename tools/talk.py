#!/usr/bin/env python3
"""A robot of the LIBERO kind, made with the published openpi-client: asks for chunks at 20 Hz.

    talk.py PORT SECONDS
"""

import sys
import time
from pathlib import Path

import numpy as np
from openpi_client import image_tools, websocket_client_policy
from PIL import Image

PICTURES = Path(__file__).resolve().parent.parent / 'assets/pictures'


def camera(name):
    picture = np.asarray(Image.open(PICTURES / name).convert('RGB'))
    return image_tools.convert_to_uint8(image_tools.resize_with_pad(picture, 224, 224))


def main():
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    policy = websocket_client_policy.WebsocketClientPolicy('127.0.0.1', port)
    server = policy.get_server_metadata()['server']
    print(f"openpi-client: {server['contract']} of {server['engine']}, {server['precision']}")
    observed = {'observation/image': camera('base.png'),
                'observation/wrist_image': camera('wrist.jpg'),
                'prompt': 'put the red block into the box'}
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        observed['observation/state'] = 0.3 * np.sin(0.1 * len(times) + np.arange(8))
        began = time.monotonic()
        result = policy.infer(observed)
        times.append(1e3 * (time.monotonic() - began))
        time.sleep(max(0.0, 0.05 - (time.monotonic() - began)))
    times.sort()
    print(f"openpi-client: {len(times)} chunks of {result['actions'].shape}, "
          f"p50 {times[len(times) // 2]:.2f} ms, of which the policy "
          f"{result['server_timing']['infer_ms']:.2f} ms")


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
