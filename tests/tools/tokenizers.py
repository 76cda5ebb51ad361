#!/usr/bin/env python3
"""Random texts against the tokenizers package: tokenizers.py --program text_server --packages FOLDER [--texts N] [--seed S]

For each kind of tokenizer.json that Lorac reads, a small vocabulary is trained here, on text of this tree and of made-up words; both
sides read the same file. Where GGUF has the kind, a .gguf of the same vocabulary must give the same again. Ids with special tokens
found and left as text, the text of those ids with and without special tokens, and of random ids; streaming, which must give the same
text in pieces of whole characters."""
import argparse
import functools
import json
import pathlib
import random
import struct
import sys
import tempfile
import time
import unicodedata

# This file must not be found as the package.
sys.path = [folder for folder in sys.path if pathlib.Path(folder or ".").resolve() != pathlib.Path(__file__).resolve().parent]
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MARK = "\u2581"


# ---- texts -------------------------------------------------------------------------------------------------------------------------
SYLLABLES = "ba ke li mo nu ra se ti vo zu an er in on st tr qu sh th ing ed ly pre con der".split()
SAMPLES = ["Ünïcödé naïve Straße fiancée", "Москва говорит по-русски", "東京は日本の首都です。", "한국어 텍스트", "नमस्ते दुनिया", "שלום עולם", "مرحبا بالعالم",
           "ελληνικά γλώσσα ΣΊΣΥΦΟΣ", "🙂🎉👩‍👩‍👧‍👦🏳️‍🌈👍🏽", "I'm we've they'll DON'T it's", "x = f(a[0]) + 3.14 ** 2; // 100%", "１２３ ٤٥٦ ५६७ Ⅷ ½ ²"]
# Whatever is odd about one of the rules: ends of lines, white space of every sort, neighbours of surrogates, joiners, marks, digits.
PIECES = (["\r\n", "\n", "\r", "\t", " ", "  ", "    ", "\u00a0", "\u2003", "\u3000", "\u1680", "\u180e", "\u2028", "\u0085", "\u000b", "\u001c",
           "\u200b", "\u200d", "\ufeff", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U00010000", "\U0010ffff", "\u0000", MARK, MARK + MARK,
           "e\u0301", "\u00e9", "a\u0316\u0301", "a\u0301\u0316", "\u212b", "\u1e9b\u0323", "\u0344", "\u1100\u1161\u11a8", "\uac01", "\u0958", "\u2126",
           "'s", "'S", "'ll", "'RE", "\u2019s", "'", "''", "!?", "...", "--", "<", "<0x0A>", "<|", "(", "#", "_", "/", "@a", "1", "12", "123", "1234",
           "12345", "3.14", "1,000", "\u0663\u0664\u0665\u0666", "\u00bd", "\u2167", "\u4e09", "\U0001d7d8\U0001d7d9", "🙂", "👩\u200d👩\u200d👧",
           "🏳\ufe0f\u200d🌈", "👍\U0001f3fd", "🇫🇷", "1\ufe0f\u20e3"])


# The package's tables of combining marks are older than ours, and it cuts by an older Unicode too.
def is_settled(code):
    return not 0xD800 <= code < 0xE000 and (unicodedata.category(chr(code)) != "Cn" or code >= 0xF0000)


@functools.cache
def newer_marks(nfc):
    """Combining marks whose class the package does not know: it leaves U+0327 behind them."""
    return {code for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code))
            for text in ["a\u0315" + chr(code) + "\u0327\u0334"] if nfc.normalize_str(text) != unicodedata.normalize("NFC", text)}


def words(rng, count):
    return " ".join("".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4))) for _ in range(count))


def corpus(rng):
    lines = [words(rng, 12).capitalize() + "." for _ in range(400)]
    for path in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        lines += (ROOT / path).read_text(encoding="utf-8").splitlines()
    return lines + SAMPLES * 6 + [f"{rng.randint(0, 10 ** 6)} {rng.random():.4f}" for _ in range(100)] + [" " * n + "x" for n in range(1, 12)]


def random_text(rng, specials, avoided):
    parts = []
    for _ in range(rng.choice([0, 1, 2, 4, 8, 16])):
        kind = rng.randrange(10)
        if kind < 3:
            parts.append(rng.choice([" ", "", " "]) + words(rng, rng.randint(1, 3)))
        elif kind < 6:
            parts.append(rng.choice(PIECES) * rng.choice([1, 1, 1, 2, 5]))
        elif kind == 6:
            sample = rng.choice(SAMPLES)
            start = rng.randrange(len(sample))
            parts.append(sample[start:start + rng.randint(1, 12)])
        elif kind == 7 and specials:
            parts.append(rng.choice([" ", ""]) + rng.choice(specials) + rng.choice([" ", "", "\n"]))
        elif kind == 8:
            parts.append("".join(chr(rng.choice([rng.randrange(0x80), rng.randrange(0x500), rng.randrange(0x3000), rng.randrange(0x10000),
                                                 0x1F000 + rng.randrange(0x1000), rng.randrange(0x110000)])) for _ in range(rng.randint(1, 6))))
        else:
            parts.append(" " * rng.randint(1, 20))
    return "".join(c for c in "".join(parts) if is_settled(ord(c)) and ord(c) not in avoided)


# ---- vocabularies ------------------------------------------------------------------------------------------------------------------
DIGITS_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTE_LEVEL = {"gpt2": "gpt-2", "smollm": "smollm", "llama3": "llama-bpe", "qwen2": "qwen2"}
MARKED = ("prepend", "replace", "first", "words", "never", "unknown", "unknown-fused", "some-bytes")
IN_GGUF = {"prepend": True, "replace": False}  # and its add_space_prefix


def byte_level(name, lines):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    tokenizer = Tokenizer(models.BPE(ignore_merges=name == "llama3"))
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    if name == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif name == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                           pre_tokenizers.ByteLevel(add_prefix_space=False)])
    else:
        pattern = Regex(DIGITS_SPLIT % ("{1,3}" if name == "llama3" else ""))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"),
                                                           pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=1200, show_progress=False, special_tokens=["<|end|>", "<|start|>"],
                                                             initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("[x]", normalized=False)])
    if name == "llama3":
        tokenizer.post_processor = processors.TemplateProcessing("<|start|> $A", special_tokens=[("<|start|>", 1)])
    return tokenizer


def all_merges(vocabulary):
    """Each way to make a token of two others, in the order that converters of scored vocabularies write."""
    merges = []
    for token, index in vocabulary.items():
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token)) if token[:cut] in vocabulary and token[cut:] in vocabulary]
        halves.sort(key=lambda half: (vocabulary[half[0]], vocabulary[half[1]]))
        merges += [(-index, half) for half in halves]
    merges.sort(key=lambda merge: (merge[0], len(merge[1][0]), len(merge[1][1])), reverse=True)
    return [half for _, half in merges]


def marked(name, lines):
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    specials = ["<unk>", "<s>", "</s>"]
    # Spaces as marks, cut into words: so that training stays quick. What the kind itself does comes after.
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    learner.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=900, show_progress=False, limit_alphabet=120))
    learned = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    has_bytes = not name.startswith("unknown")
    tokens = specials + ([f"<0x{byte:02X}>" for byte in range(256) if name != "some-bytes" or byte % 3 == 0 or byte < 0x80] if has_bytes else [])
    tokens += [MARK * 2, MARK * 4] + [token for token, _ in learned if token not in (MARK * 2, MARK * 4)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    words_of_it = {token: index for token, index in vocabulary.items() if token not in specials and not token.startswith("<0x")}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=all_merges(words_of_it), byte_fallback=has_bytes, unk_token="<unk>",
                                     fuse_unk=name != "unknown"))
    metaspace = pre_tokenizers.Metaspace
    marks = normalizers.Replace(" ", MARK)
    if name in ("prepend", "unknown-fused"):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), marks])
    elif name in ("replace", "some-bytes"):
        tokenizer.normalizer = marks
        if name == "replace":
            tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    else:
        tokenizer.pre_tokenizer = metaspace(prepend_scheme={"first": "first", "never": "never"}.get(name, "always"), split=name == "words")
    chain = [decoders.Replace(MARK, " ")] + ([decoders.ByteFallback()] if has_bytes else []) + [decoders.Fuse()]
    if name not in ("replace", "never"):
        chain.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(chain)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("[x]", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def with_options(tokenizer):
    """Added tokens of every sort, which GGUF has no words for."""
    from tokenizers import AddedToken
    tokenizer.add_tokens([AddedToken("[left]", lstrip=True, normalized=False), AddedToken("[right]", rstrip=True, normalized=False),
                          AddedToken("[both]", lstrip=True, rstrip=True), AddedToken("word", single_word=True), AddedToken("o k")])
    tokenizer.add_special_tokens([AddedToken("<left>", lstrip=True, special=True)])
    return tokenizer


def write_gguf(path, tokenizer, keys):
    def text(value):
        data = value.encode()
        return struct.pack("<Q", len(data)) + data

    def array(kind, items):
        return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)

    description = json.loads(tokenizer.to_str())
    tokens = [None] * tokenizer.get_vocab_size()
    for token, index in tokenizer.get_vocab().items():
        tokens[index] = token
    types = [6 if token.startswith("<0x") else 1 for token in tokens]
    for added in description["added_tokens"]:
        types[added["id"]] = 2 if added["content"] == "<unk>" else 3 if added["special"] else 4
    entries = {"tokenizer.ggml.tokens": array(8, [text(token) for token in tokens]),
               "tokenizer.ggml.token_type": array(5, [struct.pack("<i", kind) for kind in types])}
    if "tokenizer.ggml.pre" in keys:
        entries["tokenizer.ggml.merges"] = array(8, [text(" ".join(merge)) for merge in description["model"]["merges"]])
    else:
        entries["tokenizer.ggml.scores"] = array(6, [struct.pack("<f", -float(index)) for index in range(len(tokens))])
    for key, value in keys.items():
        entries[key] = (struct.pack("<I?", 7, value) if isinstance(value, bool) else struct.pack("<II", 4, value)
                        if isinstance(value, int) else struct.pack("<I", 8) + text(value))
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)) + b"".join(text(key) + value for key, value in entries.items())
    path.write_bytes(data + bytes(-len(data) % 32))


# ---- comparing ---------------------------------------------------------------------------------------------------------------------
class Comparison:
    def __init__(self, server, seed):
        self.server, self.seed, self.texts, self.differences = server, seed, 0, []

    def differ(self, name, what, text, ours, theirs):
        self.differences.append(f"{name}, {what} of {text!r}: ours {ours!r}, the package {theirs!r}")

    def run(self, name, tokenizer, files, count, avoided=frozenset()):
        """`files`: (kind, path) of the same vocabulary. `tokenizer`: as the package reads it."""
        rng = random.Random(f"{self.seed} {name}")
        specials = [added["content"] for added in json.loads(tokenizer.to_str())["added_tokens"]]
        texts = ["", " ", "  ", "\n", "a", " a", "a ", "  a", "\r\n", *(s for s in specials), *(f" {s} a" for s in specials)]
        texts = (texts + [random_text(rng, specials, avoided) for _ in range(count - len(texts))])[:count]
        self.texts += len(texts)
        for kind, path in files:
            self.server.ask(tokenizer=str(path), kind=kind)
            for special in (True, False):
                tokenizer.encode_special_tokens = not special
                some = texts if special else texts[::4]
                theirs = [encoding.ids for encoding in tokenizer.encode_batch(some)]
                answers = self.server.ask_all([{"text": text, "special": special} for text in some])
                for text, ids, answer in zip(some, theirs, answers):
                    if answer.get("ids") != ids:
                        self.differ(f"{name} ({kind})", "ids" if special else "ids without special tokens", text, answer, ids)
                if special:
                    self.decode(f"{name} ({kind})", tokenizer, theirs)
            size = tokenizer.get_vocab_size()
            self.decode_random(f"{name} ({kind})", tokenizer, [[rng.randrange(size) for _ in range(rng.randint(0, 12))] for _ in range(count // 10)])

    def decode(self, name, tokenizer, ids):
        plain = tokenizer.decode_batch(ids, skip_special_tokens=False)
        skipped = tokenizer.decode_batch(ids, skip_special_tokens=True)
        for one, text, without, answer in zip(ids, plain, skipped, self.server.ask_all([{"ids": one} for one in ids])):
            self.check_text(name, one, text, without, answer)

    def decode_random(self, name, tokenizer, ids):
        """Of bytes that are no UTF-8 the package makes one U+FFFD a byte, ours one a broken character, as Python does."""
        added = {token["id"]: token["special"] for token in json.loads(tokenizer.to_str())["added_tokens"]}
        chain = json.loads(tokenizer.to_str())["decoder"]
        if chain["type"] == "ByteLevel":
            return self.decode(name, tokenizer, ids)
        steps = [step["type"] for step in chain["decoders"]]

        def expected(one):
            data = b""
            for index in one:
                token = tokenizer.id_to_token(index)
                is_byte = "ByteFallback" in steps and len(token) == 6 and token.startswith("<0x")
                data += bytes([int(token[3:5], 16)]) if is_byte else token.replace(MARK, " ").encode()
            text = data.decode("utf-8", "replace")
            return text[1:] if "Strip" in steps and text.startswith(" ") else text

        for one, answer in zip(ids, self.server.ask_all([{"ids": one} for one in ids])):
            self.check_text(name, one, expected(one), expected([index for index in one if not added.get(index)]), answer)

    def check_text(self, name, ids, text, without_special, answer):
        if answer["text"] != text:
            self.differ(name, "text", ids, answer["text"], text)
        if answer["without_special"] != without_special:
            self.differ(name, "text without special tokens", ids, answer["without_special"], without_special)
        if "".join(answer["pieces"]) != answer["text"]:
            self.differ(name, "streamed text", ids, answer["pieces"], answer["text"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--packages", required=True, help="folder for the packages that are compared with")
    parser.add_argument("--texts", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2 ** 32))
    options = parser.parse_args()
    print(f"tokenizers: seed {options.seed}", flush=True)
    sys.path.append(str(HERE))
    from pypi import packages
    from text_server import Server
    sys.path.pop()
    packages(options.packages, "tokenizers==0.23.3")
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    begun = time.monotonic()
    rng = random.Random(options.seed)
    lines = corpus(random.Random(1))  # vocabularies are the same in every run: a seed gives the same texts for the same vocabulary
    server = Server(options.program)
    comparison = Comparison(server, options.seed)
    nfc = normalizers.NFC()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def add(name, tokenizer, gguf=None, avoided=frozenset()):
            path = folder / f"{name}.json"
            tokenizer.save(str(path))
            files = [("hf", path)]
            if gguf is not None:
                files.append(("gguf", folder / f"{name}.gguf"))
                write_gguf(files[-1][1], tokenizer, gguf)
            runs.append((name, tokenizer, files, avoided))

        for name, rule in BYTE_LEVEL.items():
            avoided = newer_marks(nfc) if name == "qwen2" else frozenset()
            keys = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": rule, "tokenizer.ggml.bos_token_id": 1}
            tokenizer = byte_level(name, lines)
            add(name, tokenizer, keys, avoided)
            add(f"{name}-added", with_options(Tokenizer.from_str(tokenizer.to_str())), avoided=avoided)
        for name in MARKED:
            keys = None
            if name in IN_GGUF:
                keys = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.add_space_prefix": IN_GGUF[name], "tokenizer.ggml.unknown_token_id": 0,
                        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2}
            tokenizer = marked(name, lines)
            add(name, tokenizer, keys)
            add(f"{name}-added", with_options(Tokenizer.from_str(tokenizer.to_str())))
        # A real vocabulary, with the rule of its file and with the one of its model.
        stored = ROOT / "tests" / "goldens" / "text" / "tokenizer.json"
        add("stored", Tokenizer.from_file(str(stored)))
        smollm2 = Tokenizer.from_file(str(stored))
        smollm2.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                         pre_tokenizers.ByteLevel(add_prefix_space=False)])
        add("smollm2", smollm2, {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.bos_token_id": 1})
        model = ROOT / ".cache" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        if model.exists():  # what the demo fetched
            runs[-1][2].append(("gguf", model))
        share = -(-options.texts // (len(runs) + 3))
        for name, tokenizer, files, avoided in runs:
            comparison.run(name, tokenizer, files, share * 4 if name == "smollm2" else share, avoided)
    for difference in comparison.differences[:20]:
        print(difference)
    print(f"tokenizers: {comparison.texts} texts on {len(runs)} vocabularies in {sum(len(run[2]) for run in runs)} files, {len(comparison.differences)} differences, "
          f"{time.monotonic() - begun:.1f} s")
    return 1 if comparison.differences or comparison.texts < options.texts else 0


if __name__ == "__main__":
    sys.exit(main())
