#!/usr/bin/env python3
"""The published openpi-client, unchanged, against `tendon serve` with three robots' policies.

    openpi_client_test.py TENDON WORK

For LIBERO-, DROID- and ALOHA-shaped observations: metadata, one chunk, the first chunk of a session
against `tendon run --seed` bit for bit, the client's own runtime loop with its action chunk broker,
a bad observation, a reset. The other two families, one of them by a client of the LingBot dialect:
the first chunk and a reset. Exit code 77 where openpi-client is not installed.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

try:
    import msgpack
    import numpy as np
    import websockets
    from PIL import Image
    from openpi_client import action_chunk_broker, image_tools, msgpack_numpy
    from openpi_client import websocket_client_policy
    from openpi_client.runtime import environment, runtime
    from openpi_client.runtime.agents import policy_agent
except ImportError as missing:
    print(f'skipped: {missing}; get it with `tools/install_deps.sh client`')
    sys.exit(77)

SEED = 17
# policy: family, contract, shape of a chunk
POLICIES = {
    'libero': ('pi05', 'pi05_libero', (10, 7)),
    'droid': ('pi05', 'pi05_droid', (15, 8)),
    'aloha': ('pi0', 'pi0_aloha', (50, 14)),
}
# policy: family, what its clients call the prompt, what they call the chunk
FAMILIES = {
    'lingbot': ('lingbot_vla', 'task', 'action'),
    'fastwam': ('fastwam', 'prompt', 'actions'),
}


def picture(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def camera(seed):
    """As the examples do it: the robot's picture, made small by the client."""
    return image_tools.convert_to_uint8(
        image_tools.resize_with_pad(picture(seed, 48, 64), 224, 224))


def observation(policy):
    state = np.linspace(-0.2, 0.3, 14)
    if policy == 'libero':
        return {'observation/image': camera(1), 'observation/wrist_image': camera(2),
                'observation/state': state[:8], 'prompt': 'put the bowl on the plate'}
    if policy == 'droid':
        return {'observation/exterior_image_1_left': camera(1),
                'observation/wrist_image_left': camera(2),
                'observation/joint_position': state[:7],
                'observation/gripper_position': np.array([0.4]), 'prompt': 'open the drawer'}
    cameras = {name: np.ascontiguousarray(camera(i).transpose(2, 0, 1)) for i, name in
               enumerate(['cam_high', 'cam_low', 'cam_left_wrist', 'cam_right_wrist'])}
    return {'state': state, 'images': cameras, 'prompt': 'fold the towel'}


def flat(observed, prefix=''):
    for key, value in observed.items():
        if isinstance(value, dict):
            yield from flat(value, prefix + key + '/')
        else:
            yield prefix + key, value


def run_command(tendon, model, observed, work):
    """The chunk that `tendon run` makes of the same observation."""
    command = [tendon, 'run', model, '--seed', str(SEED), '--threads', '1',
               '--out', work / 'actions.npy']
    for index, (key, value) in enumerate(flat(observed)):
        if key == 'prompt':
            command += ['--prompt', value]
        elif value.ndim == 3:
            rows = value.transpose(1, 2, 0) if value.shape[0] == 3 else value
            Image.fromarray(np.ascontiguousarray(rows)).save(work / f'{index}.png')
            command += ['--image', f'{key}={work / f"{index}.png"}']
        else:
            numbers = ','.join(repr(float(v)) for v in np.atleast_1d(value))
            command += ['--state', f'{key}={numbers}']
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return np.load(work / 'actions.npy')


class Robot(environment.Environment):
    """Shows the same scene, takes actions, is done after some."""

    def __init__(self, observed, steps):
        self.observed, self.steps, self.actions = observed, steps, []

    def reset(self):
        """Called before and after the episode; what was done stays on record."""

    def is_episode_complete(self):
        return len(self.actions) >= self.steps

    def get_observation(self):
        return self.observed

    def apply_action(self, action):
        self.actions.append(action['actions'])


def connect(port, policy):
    return websocket_client_policy.WebsocketClientPolicy(
        f'ws://127.0.0.1:{port}/v1/policies/{policy}')


def check_policy(tendon, port, policy, models, work):
    contract, shape = POLICIES[policy][1:]
    observed = observation(policy)
    client = connect(port, policy)
    metadata = client.get_server_metadata()
    assert metadata['server']['contract'] == contract, metadata
    if policy == 'aloha':
        assert metadata['reset_pose'] == [0, -1.5, 1.5, 0, 0, 0], metadata
    result = client.infer(observed)
    assert result['actions'].shape == shape, result['actions'].shape
    assert metadata['server']['action_horizon'] == shape[0], metadata
    assert all(type(v) is float for v in result['server_timing'].values())
    assert result['policy_timing']['infer_ms'] > 0
    expected = run_command(tendon, models[policy], observed, work)
    assert result['actions'].dtype == np.float64
    assert np.array_equal(result['actions'], expected), 'not what tendon run gives'
    assert not np.array_equal(client.infer(observed)['actions'], expected), 'the noise stays'

    again = connect(port, policy)
    assert np.array_equal(again.infer(observed)['actions'], expected), 'sessions differ'
    again._ws.send(msgpack_numpy.packb({'reset': True}))
    assert msgpack.unpackb(again._ws.recv())['reset'] is True
    assert np.array_equal(again.infer(observed)['actions'], expected), 'reset does not reset'

    steps, rows = 7, 3
    robot = Robot(observed, steps)
    broker = action_chunk_broker.ActionChunkBroker(connect(port, policy), action_horizon=rows)
    runtime.Runtime(environment=robot, agent=policy_agent.PolicyAgent(policy=broker),
                    subscribers=[], max_hz=0, num_episodes=1).run()
    assert len(robot.actions) == steps
    assert np.array_equal(np.stack(robot.actions[:rows]), expected[:rows]), 'broker rows differ'

    bad = dict(observed)
    bad.pop('prompt')
    try:
        connect(port, policy).infer(bad)
    except RuntimeError as error:
        assert 'bad_observation' in str(error) and 'prompt' in str(error), error
    else:
        raise AssertionError('an observation without a prompt was answered')
    assert np.array_equal(connect(port, policy).infer(observed)['actions'], expected)
    timing = ', '.join(f'{k} {v:.2f}' for k, v in result['server_timing'].items())
    print(f'{policy}: {shape}, as tendon run; {timing}')


def check_family(tendon, port, policy, models, work):
    """A family that openpi does not have, asked for what its metadata says."""
    prompt, chunk = FAMILIES[policy][1:]
    client = connect(port, policy)
    server = client.get_server_metadata()['server']
    assert server['model'] == FAMILIES[policy][0], server
    observed = {}
    for index, (key, wanted) in enumerate(server['inputs'].items()):
        numbers = wanted['shape'][0] > 3 and len(wanted['shape']) == 1
        observed[key] = np.linspace(-0.2, 0.3, wanted['shape'][0]) if numbers else camera(index)
    expected = run_command(tendon, models[policy], {**observed, 'prompt': 'open the drawer'}, work)
    assert expected.shape == (server['action_horizon'], server['action_dim']), expected.shape
    asked = {**observed, prompt: 'open the drawer'}
    result = client.infer(asked)
    assert set(result) == {chunk, 'server_timing'} | ({'policy_timing'} if chunk == 'actions' else
                                                      set()), result
    assert np.array_equal(result[chunk], expected), 'not what tendon run gives'
    client._ws.send(msgpack_numpy.packb({'reset': True, 'robo_name': 'arm'}))
    assert msgpack.unpackb(client._ws.recv())['action'] is None
    assert np.array_equal(client.infer(asked)[chunk], expected), 'reset does not reset'
    print(f'{policy}: {expected.shape}, as tendon run')


def make_model(tendon, policy, work):
    more = []
    if policy in POLICIES:
        family, contract, shape = POLICIES[policy]
        more = ['--contract', contract, '--dims', f'horizon={shape[0]},action_dim=32']
    else:
        family = FAMILIES[policy][0]
    if not (work / policy).exists():
        subprocess.run([tendon, 'synth', family, '--size', 'mini', *more, '--out', work / policy],
                       check=True, stdout=subprocess.DEVNULL)
    return work / policy


def start(command):
    """The server and its port, once its policies are loaded."""
    server = subprocess.Popen([*command, '--port', '0', '--threads', '1'],
                              stdout=subprocess.PIPE, text=True)
    port = None
    for line in server.stdout:
        if line.startswith('robots'):
            port = int(line.rsplit(':', 1)[1])
        if line.startswith('ready'):
            return server, port
    raise AssertionError('the server did not start')


def check_tls(tendon, model, work):
    """wss:// with a key: the client of the package, told to trust this certificate."""
    certificate, private = work / 'certificate.pem', work / 'private.pem'
    request = ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
               '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext',
               'subjectAltName=DNS:localhost', '-keyout', private, '-out', certificate]
    subprocess.run(request, check=True, stderr=subprocess.DEVNULL)
    keys = work / 'keys'
    keys.write_text('# robots\nopen sesame\n')
    server, port = start([tendon, 'serve', model, '--tls-certificate', certificate, '--tls-key',
                          private, '--api-key-file', keys])
    try:
        os.environ['SSL_CERT_FILE'] = str(certificate)
        make = websocket_client_policy.WebsocketClientPolicy
        result = make(f'wss://localhost:{port}', api_key='open sesame').infer(observation('libero'))
        assert result['actions'].shape == (10, 7)
        for wrong in ('open', None):
            try:
                make(f'wss://localhost:{port}', api_key=wrong)
            except websockets.exceptions.InvalidStatus as error:
                assert error.response.status_code == 401, error
            else:
                raise AssertionError(f'the key {wrong} opened the server')
        print('wss with a key: answered; without: 401')
    finally:
        server.kill()


def main():
    tendon, work = Path(sys.argv[1]), Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    models = {}
    for policy in (*POLICIES, *FAMILIES):
        models[policy] = make_model(tendon, policy, work)
    server, port = start([tendon, 'serve', *(f'{name}={path}' for name, path in models.items()),
                          '--seed', str(SEED), '--f64', '--max-connections', '32'])
    try:
        for policy in POLICIES:
            check_policy(tendon, port, policy, models, work)
        for policy in FAMILIES:
            check_family(tendon, port, policy, models, work)
        health = urllib.request.urlopen(f'http://127.0.0.1:{port}/healthz').read()
        assert health == b'OK\n', health
        server.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert server.wait(timeout=20) == 0, server.returncode
        print(f'stopped in {time.monotonic() - began:.2f} s')
    finally:
        server.kill()
    check_tls(tendon, models['libero'], work)


if __name__ == '__main__':
    main()
