"""`tendon convert` on files written as PyTorch writes them:  convert_test.py TENDON WORK

The small synthetic policy is taken apart into .pt files by a writer of pickles and zip archives
(PyTorch itself is not needed), converted, and must answer as before.
"""
import io
import json
import os
import pathlib
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import unittest
import zipfile
import zlib

TENDON, WORK = sys.argv[1], pathlib.Path(sys.argv[2])
STORAGES = {'F32': 'FloatStorage', 'BF16': 'BFloat16Storage'}
CONTRACT = 'fastwam_libero'


class Named:
    """Pickles as the global `module.name`, whatever it is."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickles as `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Ordered:
    """Pickles as an OrderedDict."""

    def __init__(self, items):
        self.items = items


class Storage:
    def __init__(self, kind, key, elements):
        self.kind, self.key, self.elements = kind, key, elements


class Pickler(pickle._Pickler):
    """Protocol 2 with tensors as torch.save lays them down."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_named(self, o):
        self.write(pickle.GLOBAL + f'{o.module}\n{o.name}\n'.encode())

    def save_call(self, o):
        self.save(o.function)
        self.save(o.arguments)
        self.write(pickle.REDUCE)

    def save_ordered(self, o):
        self.write(pickle.GLOBAL + b'collections\nOrderedDict\n' + pickle.EMPTY_TUPLE +
                   pickle.REDUCE + pickle.MARK)
        for key, value in o.items.items():
            self.save(key)
            self.save(value)
        self.write(pickle.SETITEMS)

    def persistent_id(self, o):
        if isinstance(o, Storage):
            return ('storage', Named('torch', o.kind), o.key, 'cpu', o.elements)
        return None

    dispatch[Named] = save_named
    dispatch[Call] = save_call
    dispatch[Ordered] = save_ordered


class Archive:
    """A .pt file in the making."""

    def __init__(self):
        self.storages = []

    def tensor(self, kind, shape, data):
        strides, step = [], 1
        for n in reversed(shape):
            strides.insert(0, step)
            step *= n
        key = str(len(self.storages))
        self.storages.append(data)
        return Call(Named('torch._utils', '_rebuild_tensor_v2'),
                    Storage(STORAGES[kind], key, step), 0, tuple(shape), tuple(strides), False,
                    Ordered({}))

    def write(self, path, root):
        stream = io.BytesIO()
        Pickler(stream, protocol=2).dump(root)
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as out:
            out.writestr('archive/data.pkl', stream.getvalue())
            out.writestr('archive/byteorder', 'little')
            for i, data in enumerate(self.storages):
                out.writestr(f'archive/data/{i}', data)
            out.writestr('archive/version', '3\n')


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} of a file, or of the files that an index names."""
    path = pathlib.Path(path)
    if path.suffix == '.json':
        names = sorted(set(json.loads(path.read_text())['weight_map'].values()))
        parts = [read_safetensors(path.parent / n) for n in names]
        return {k: v for part in parts for k, v in part.items()}
    data = path.read_bytes()
    size, = struct.unpack('<Q', data[:8])
    header = json.loads(data[8:8 + size])
    header.pop('__metadata__', None)
    return {name: (t['dtype'], t['shape'], data[8 + size + t['data_offsets'][0]:
                                                8 + size + t['data_offsets'][1]])
            for name, t in header.items()}


def run(*line, **more):
    return subprocess.run([TENDON, *map(str, line)], capture_output=True, text=True, **more)


def interrupt_myself():
    """A SIGINT that waits for whoever asks: it outlives the exec that follows."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.kill(os.getpid(), signal.SIGINT)


def in_layers(name):
    """FastWAM's name -> that of LeRobot's files saved since."""
    words = name.split('.')
    if words[0] == 'mixtures' and words[2] == 'blocks':
        words = ['layers', words[3], 'blocks', words[1]] + words[4:]
    return '.'.join(words)


def write_png(path, seed, side=64):
    pixels = bytes((seed + 37 * i + i * i // 7) % 256 for i in range(side * side * 3))
    rows = b''.join(b'\0' + pixels[y * side * 3:(y + 1) * side * 3] for y in range(side))

    def block(kind, data):
        body = kind + data
        return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))

    path.write_bytes(b'\x89PNG\r\n\x1a\n' +
                     block(b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)) +
                     block(b'IDAT', zlib.compress(rows)) + block(b'IEND', b''))


class ConvertTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
        cls.whole = WORK / 'whole'
        done = run('synth', 'fastwam', '--dtype', 'bf16', '--out', cls.whole)
        assert done.returncode == 0, done.stderr
        cls.parts = {name: read_safetensors(cls.whole / f'{name}.safetensors')
                     for name in ('model', 'vae', 'text')
                     if (cls.whole / f'{name}.safetensors').exists()}
        assert {'model', 'vae', 'text'} == set(cls.parts), list(cls.whole.iterdir())
        cls.policy = {cls.plain(name): t for name, t in cls.parts['model'].items()}
        cls.pictures = [WORK / 'base.png', WORK / 'wrist.png']
        for i, file in enumerate(cls.pictures):
            write_png(file, i)
        cls.wanted = cls.actions(cls.whole)

    @staticmethod
    def plain(name):
        return name.removeprefix('model.').removeprefix('mot.')

    @classmethod
    def actions(cls, folder):
        done = run('run', folder, '--json', '--seed', 3, '--threads', 1, '--steps', 2,
                   '--dtype', 'f32', '--prompt', 'pick up the block',
                   '--image', f'observation/image={cls.pictures[0]}',
                   '--image', f'observation/wrist_image={cls.pictures[1]}',
                   '--state', '0.1,0.2,0,0,0,0.1,0.2,0.3')
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)['actions']

    def setUp(self):
        self.folder = WORK / self.id().split('.')[-1]
        self.folder.mkdir()
        self.out = self.folder / 'out'
        self.companions = []
        for file in sorted(self.whole.iterdir()):
            if file.suffix != '.safetensors':
                self.companions += ['--with', file]

    def pt(self, name, tensors, wrap=lambda tensors, archive: Ordered(tensors)):
        """A .pt file of {name: (dtype, shape, bytes)}."""
        archive = Archive()
        root = wrap({k: archive.tensor(*t) for k, t in tensors.items()}, archive)
        path = self.folder / name
        archive.write(path, root)
        return path

    def published(self, tensors=None, **more):
        """The policy as FastWAM publishes it."""
        def wrap(all, archive):
            mot = {k: v for k, v in all.items() if not k.startswith('proprio_encoder.')}
            state = {k.split('.', 1)[1]: v for k, v in all.items()
                     if k.startswith('proprio_encoder.')}
            return {'mot': Ordered(mot), 'proprio_encoder': Ordered(state), 'step': 12000,
                    'torch_dtype': Named('torch', 'bfloat16'), **more}
        return self.pt('policy.pt', self.policy if tensors is None else tensors, wrap)

    def others(self):
        return [self.pt('Wan2.2_VAE.pth', self.parts['vae']),
                self.pt('umt5.pth', self.parts['text'])]

    def converted(self, *line):
        done = run('convert', *line, '--out', self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(list(self.folder.glob('*.partial*')), [])
        return done.stdout

    def refused(self, word, *line, **more):
        done = run('convert', *line, '--out', self.out, **more)
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertTrue(done.stderr.startswith('tendon: '), done.stderr)
        self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
        self.assertIn(word, done.stderr)
        self.assertFalse(self.out.exists() and any(self.out.iterdir()))
        self.assertEqual(list(self.folder.glob('*.partial*')), [])

    def test_published_files(self):
        printed = self.converted(self.published(), *self.others(), *self.companions)
        self.assertNotIn('left out', printed)
        written = read_safetensors(self.out / 'model.safetensors')
        self.assertEqual(written, {
            ('model.mot.' if k.startswith('mixtures.') else 'model.') + k: t
            for k, t in self.policy.items()})
        for part in ('vae', 'text'):
            self.assertEqual(read_safetensors(self.out / f'{part}.safetensors'), self.parts[part])
        self.assertEqual(self.actions(self.out), self.wanted)

    def test_an_interrupt_leaves_nothing(self):
        self.refused('interrupted', self.published(), *self.others(),
                     preexec_fn=interrupt_myself)

    def test_layers(self):
        self.converted(self.published(), *self.others(), *self.companions, '--layout', 'layers')
        written = read_safetensors(self.out / 'model.safetensors')
        wanted = {}
        for name, t in self.policy.items():
            at = in_layers(name)
            wanted[('model.mot.' if at != name or at.startswith('mixtures') else 'model.') + at] = t
        self.assertEqual(written, wanted)
        self.assertTrue(any(k.startswith('model.mot.layers.0.blocks.action.') for k in written))
        self.assertEqual(self.actions(self.out), self.wanted)

    def test_files_that_hold_lerobot_names(self):
        for prefix, rename in (('model.mot.', str), ('mot.', in_layers)):
            names = {(prefix + rename(k) if k.startswith('mixtures.') else
                      prefix.removesuffix('mot.') + k): t for k, t in self.policy.items()}
            shutil.rmtree(self.out, ignore_errors=True)
            self.converted(self.pt('policy.pt', names), *self.others(), *self.companions)
            self.assertEqual(self.actions(self.out), self.wanted)

    def test_shards(self):
        self.converted(self.published(), *self.others(), *self.companions, '--shard', '0.0001')
        for index in (self.out / 'model.safetensors.index.json',
                      self.out / 'text' / 'model.safetensors.index.json'):
            names = set(json.loads(index.read_text())['weight_map'].values())
            self.assertGreater(len(names), 1)
            for name in names:
                tensors = read_safetensors(index.parent / name)
                size = sum(len(data) for _, _, data in tensors.values())
                self.assertTrue(size <= 100_000 or len(tensors) == 1, name)
        self.assertEqual(self.actions(self.out), self.wanted)

    def test_contract(self):
        self.converted(self.published(), '--contract', CONTRACT)
        self.assertEqual(json.loads((self.out / 'tendon.json').read_text()),
                         {'contract': CONTRACT})
        self.assertEqual(sorted(p.name for p in self.out.iterdir()),
                         ['model.safetensors', 'tendon.json'])

    def test_what_the_policy_does_not_have_is_left_out_and_said(self):
        archive = {**self.policy, 'ema.mixtures.video.patch_embedding.weight':
                   self.policy['mixtures.video.patch_embedding.weight']}
        printed = self.converted(self.published(archive, optimizer={'lr': 1e-4, 'steps': [1, 2]}))
        self.assertIn('left out   1 tensors', printed)
        self.assertIn('ema.mixtures', printed)
        self.assertEqual(len(read_safetensors(self.out / 'model.safetensors')), len(self.policy))

    def test_nothing_is_executed(self):
        mark = self.folder / 'mark'
        evil = Call(Named('os', 'system'), f'touch {mark}')
        self.refused('os.system', self.published(optimizer=evil))
        evil = Call(Named('builtins', 'eval'), '1')
        self.refused('builtins.eval', self.published(optimizer=evil))
        self.assertFalse(mark.exists())

    def test_refusals(self):
        policy = self.published()
        self.refused('nowhere.pt', self.folder / 'nowhere.pt')
        self.refused('same part', policy, policy)
        self.refused('nonsense', policy, '--contract', 'nonsense')
        self.refused('pi05_libero', policy, '--contract', 'pi05_libero')
        self.refused('fastwam_robotwin', policy, '--contract', 'fastwam_robotwin')
        self.refused('nonsense', policy, '--layout', 'nonsense')
        self.refused('stats.json', policy, '--with', self.folder / 'stats.json')
        self.out.mkdir()
        (self.out / 'kept').write_text('x')
        done = run('convert', policy, '--out', self.out)
        self.assertEqual((done.returncode, (self.out / 'kept').read_text()), (2, 'x'))
        self.assertIn('is there already', done.stderr)

    def test_damaged_files(self):
        lacking = dict(self.policy)
        del lacking['mixtures.action.blocks.1.ffn.2.bias']
        self.refused('mixtures.action.blocks.1.ffn.2.bias', self.published(lacking))
        bent = dict(self.policy)
        kind, shape, data = bent['mixtures.action.head.bias']
        bent['mixtures.action.head.bias'] = (kind, [shape[0] - 1], data[:-2])
        self.refused('mixtures.action.head.bias', self.published(bent))
        self.refused('no policy that is known', self.pt('other.pt', {
            'weight': ('F32', [2, 2], bytes(16))}))
        text = dict(self.parts['text'])
        del text['norm.weight']
        self.refused('norm.weight', self.pt('umt5.pth', text))
        policy = self.published()
        cut = self.folder / 'cut.pt'
        cut.write_bytes(policy.read_bytes()[:-500])
        self.refused('cut.pt', cut)
        cut.write_bytes(b'hello')
        self.refused('cut.pt', cut)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
