"""The policy's prompt format and its own small tokenizer."""

import io
import random

import numpy as np

BOS = 2
# Wordings beside the trained ones, so that their words are in the vocabulary.
OTHERS = ["please grab the {} cube", "put the {} block down", "move the arm to the {} block",
          "push the {} block away", "put the {} block on the red block"]
COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "white", "black"]


def state_bins(normalised):
    """Normalised state -> the numbers of the prompt, -1 to 255."""
    scaled = np.floor(128.0 * np.asarray(normalised, np.float64)) + 128
    return np.clip(scaled, -1, 255).astype(int)


def prompt(text, bins):
    text = text.strip().replace("_", " ").replace("\n", " ")
    return f"Task: {text}, State: {' '.join(str(int(b)) for b in bins)};\nAction: "


def train_tokenizer(path, prompts, state_dims, count, pieces=1000):
    import sentencepiece

    rng = random.Random(0)
    texts = prompts + [other.format(colour) for other in OTHERS for colour in COLOURS]
    lines = []
    for _ in range(count):
        bins = [rng.randint(-1, 255) for _ in range(state_dims)]
        lines.append(prompt(rng.choice(texts), bins).replace("\n", ""))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=pieces, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False, pad_id=0, eos_id=1, bos_id=BOS, unk_id=3,
        # ';' and ',' stand alone: the last number of the state would merge with them.
        user_defined_symbols=["\n", ";", ","], character_coverage=1.0, num_threads=1,
        minloglevel=2, hard_vocab_limit=False)
    path.write_bytes(model.getvalue())


class Tokenizer:
    def __init__(self, path, capacity):
        import sentencepiece

        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.capacity = capacity

    def __len__(self):
        return self.pieces.vocab_size()

    def __call__(self, text, bins):
        """Ids padded with 0 to the capacity, and how many are real."""
        ids, count = self.all([text], [bins])
        return ids[0].tolist(), int(count[0])

    def all(self, texts, bins):
        """The same of many prompts: ids [N, capacity], counts [N]."""
        rows = self.pieces.encode([prompt(t, b) for t, b in zip(texts, bins)], num_threads=16)
        ids = np.zeros((len(rows), self.capacity), np.int64)
        counts = np.array([1 + len(row) for row in rows])
        if counts.max() > self.capacity:
            longest = texts[int(counts.argmax())]
            raise ValueError(f"{longest!r} takes {counts.max()} tokens of {self.capacity}")
        for i, row in enumerate(rows):
            ids[i, : counts[i]] = [BOS] + row
        return ids, counts
