"""The C ABI as a foreign language sees it:  ctypes_test.py LIBRARY TENDON MODEL WORK"""
import ctypes as c
import json
import struct
import subprocess
import sys
import unittest
import zlib

LIBRARY, TENDON, MODEL, WORK = sys.argv[1:5]
U8, F64 = 1, 11
PROMPT = 'put the red block into the box'
STATE = [0.1, -0.2, 0.3, 0, 0.5, -0.1, 0.2, 0.4]


class Array(c.Structure):
    _fields_ = [('key', c.c_char_p), ('data', c.c_void_p), ('dtype', c.c_int32),
                ('rank', c.c_int32), ('shape', c.POINTER(c.c_int64)),
                ('strides', c.POINTER(c.c_int64))]


class Sized(c.Structure):
    def __init__(self, **values):
        super().__init__(size=c.sizeof(type(self)), **values)


class LoadOptions(Sized):
    TEXTS = ('device', 'dtype', 'contract', 'tokenizer', 'statistics', 'default_prompt', 'context',
             'text_cache', 'schedule')
    _fields_ = [('size', c.c_size_t), *[(name, c.c_char_p) for name in TEXTS],
                ('threads', c.c_int32), ('max_steps', c.c_int32), ('truncate_prompt', c.c_int32),
                ('execute', c.c_int32), ('seed', c.c_uint64), ('progress', c.c_void_p),
                ('user', c.c_void_p)]


class Observation(Sized):
    _fields_ = [('size', c.c_size_t), ('arrays', c.POINTER(Array)), ('count', c.c_size_t),
                ('prompt', c.c_char_p)]


class Chunk(Sized):
    _fields_ = [('size', c.c_size_t), ('horizon', c.c_int32), ('width', c.c_int32),
                ('model_width', c.c_int32), ('timing_count', c.c_int32),
                ('actions', c.POINTER(c.c_double)), ('model_actions', c.POINTER(c.c_float)),
                ('timing', c.c_void_p), ('seconds', c.c_double)]


def array(key, data, dtype, shape):
    return Array(key.encode(), c.cast(data, c.c_void_p), dtype, len(shape),
                 (c.c_int64 * len(shape))(*shape), None)


class Ctypes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lib = c.CDLL(LIBRARY)
        cls.lib.tendon_last_error.restype = c.c_char_p
        cls.lib.tendon_version.restype = c.c_char_p
        cls.lib.tendon_free.argtypes = [c.c_void_p]
        cls.policy = c.c_void_p()
        options = LoadOptions(threads=1, seed=5, execute=2)
        status = cls.lib.tendon_load(MODEL.encode(), c.byref(options), c.byref(cls.policy))
        assert status == 0, cls.lib.tendon_last_error()

    @classmethod
    def tearDownClass(cls):
        cls.lib.tendon_free(cls.policy)

    def observation(self):
        pixels = bytes(range(256)) * (48 * 64 * 3 // 256)
        self.kept = [c.create_string_buffer(pixels), (c.c_double * 8)(*STATE)]
        arrays = (Array * 3)(array('observation/image', self.kept[0], U8, (48, 64, 3)),
                             array('observation/wrist_image', self.kept[0], U8, (48, 64, 3)),
                             array('observation/state', self.kept[1], F64, (8,)))
        return Observation(arrays=arrays, count=3, prompt=PROMPT.encode()), pixels

    def test_request_zero_equals_the_command_bit_for_bit(self):
        seen, pixels = self.observation()
        picture = WORK + '/picture.png'
        write_png(picture, pixels, 48, 64)
        line = [TENDON, 'run', MODEL, '--json', '--seed', '5', '--threads', '1', '--prompt', PROMPT,
                '--image', f'observation/image={picture}', '--state', ','.join(map(str, STATE)),
                '--image', f'observation/wrist_image={picture}']
        printed = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
        chunk = Chunk()
        self.assertEqual(self.lib.tendon_reset(self.policy), 0)
        status = self.lib.tendon_infer(self.policy, c.byref(seen), None, c.byref(chunk))
        self.assertEqual(status, 0, self.lib.tendon_last_error())
        rows = [[chunk.actions[r * chunk.width + i] for i in range(chunk.width)]
                for r in range(chunk.horizon)]
        self.assertEqual(rows, printed['actions'])

    def test_actions_one_at_a_time(self):
        seen, _ = self.observation()
        self.assertEqual(self.lib.tendon_reset(self.policy), 0)
        action = (c.c_double * 7)()
        for left in (1, 0, 1):
            status = self.lib.tendon_next_action(self.policy, c.byref(seen), None, action,
                                                 c.c_size_t(7))
            self.assertEqual(status, 0, self.lib.tendon_last_error())
            self.assertEqual(self.lib.tendon_actions_left(self.policy), left)

    def test_refusals_are_sentences(self):
        absent = c.c_void_p()
        self.assertEqual(self.lib.tendon_load(b'/nowhere', None, c.byref(absent)), 1)
        self.assertIsNone(absent.value)
        printed = subprocess.run([TENDON, 'run', '/nowhere'], capture_output=True, text=True)
        self.assertEqual('tendon: ' + self.lib.tendon_last_error().decode() + '\n', printed.stderr)


def write_png(path, pixels, height, width):
    def block(kind, data):
        body = kind + data
        return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))

    rows = b''.join(b'\0' + pixels[y * width * 3:(y + 1) * width * 3] for y in range(height))
    with open(path, 'wb') as file:
        file.write(b'\x89PNG\r\n\x1a\n')
        file.write(block(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)))
        file.write(block(b'IDAT', zlib.compress(rows)) + block(b'IEND', b''))


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
