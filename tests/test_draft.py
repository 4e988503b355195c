"""What checkpoints guess words from, and that guesses change no caption."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from stages.captioner.checkpoint import read_manifest, seal
from stages.captioner.command_line import InputError
from stages.captioner.runtimes.captioner import Captioner, open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.drafts import CAPTIONS, DRAFTS, LARGEST_FILE, Pace
from stages.captioner.runtimes.graph_captioner import GraphCaptioner
from stages.draft import bounded
from stages.pictures.annotations import captions_of, to_tokens
from stages.records.examples import read_examples
from tests.conftest import DEMO, Build

TOKENIZER = DEMO / "tokenizer.json"


@pytest.fixture(params=["onnx_int8", "openvino_int8"])
def with_drafts(request: pytest.FixtureRequest, build_demo: Build) -> Path:
    """A checkpoint of the demo. Only a trained model will do: int8 turns a random one's next word as it likes."""
    return build_demo(request.param)


def test_each_calibration_picture_has_a_caption_to_guess_from(drafted: Path, calibration: Path) -> None:
    captions = CAPTIONS.validate_json(drafted.read_bytes())
    assert len(captions) == len(read_examples(calibration)) and all(captions)


def steps(captioner: Captioner, image: Image.Image, decoding: Decoding) -> tuple[str, int]:
    """A caption, and how many steps the decoder took for it."""
    parts = captioner.parts
    assert isinstance(parts, GraphCaptioner)
    start, taken = parts.engine.start_decoder, []

    def counted(*arguments: object) -> object:
        decoder = start(*arguments)
        step = decoder.step
        decoder.step = lambda tokens, parents: taken.append(tokens.shape) or step(tokens, parents)
        return decoder

    parts.engine.start_decoder = counted
    try:
        (caption,) = captioner.caption([image], decoding)
    finally:
        parts.engine.start_decoder = start
    return caption, len(taken)


def are_alike(captioner: Captioner, image: Image.Image, captions: tuple[str, str]) -> bool:
    """Whether two captions are the same up to a word that is as likely as the other's, as far as int8 can tell."""
    if captions[0] == captions[1]:
        return True
    parts = captioner.parts
    assert isinstance(parts, GraphCaptioner)
    one, other = (
        [*parts.tokenizer.encode(caption, add_special_tokens=False).ids, parts.vocabulary.end] for caption in captions
    )
    place = next(number for number, (first, second) in enumerate(zip(one, other, strict=False)) if first != second)
    states = parts.encode(parts.preprocess([image]))
    logits = parts.next_token_logits(states, [one[:place]])[0][-1]
    # bfloat16 keeps eight bits, and each of the two may be rounded up or down.
    return bool(abs(logits[one[place]] - logits[other[place]]) <= 2 * 2**-8 * abs(logits).max())


def test_captions_are_the_same_and_known_ones_take_fewer_steps(with_drafts: Path, pictures: list[Image.Image]) -> None:
    guessing, plain = Decoding(drafts=3), Decoding(drafts=0)
    with open_captioner(with_drafts, threads=1) as captioner:
        for picture in pictures:
            caption, all_steps = steps(captioner, picture, plain)
            first, _ = steps(captioner, picture, guessing)
            captioner.parts.drafts.pace = Pace()  # so that it guesses, whether or not that pays here
            again, fewer_steps = steps(captioner, picture, guessing)
            assert all(are_alike(captioner, picture, (caption, own)) for own in (first, again))
            assert fewer_steps <= 1 + all_steps // 2  # as it has just been said
        together = captioner.caption(pictures, guessing)
        for picture, *captions in zip(pictures, together, captioner.caption(pictures, plain), strict=True):
            assert are_alike(captioner, picture, (captions[0], captions[1]))


def test_guesses_end_where_the_decoder_has_no_more_positions(with_drafts: Path, pictures: list[Image.Image]) -> None:
    with open_captioner(with_drafts, threads=1) as captioner:
        parts = captioner.parts
        assert isinstance(parts, GraphCaptioner)
        longest = Decoding(max_new_tokens=parts.positions - 1, min_new_tokens=parts.positions - 1)
        for drafts in (0, 15):
            captioner.parts.drafts.pace = Pace()
            captions = captioner.caption(pictures[:1], longest.model_copy(update={"drafts": drafts}))
            assert len(captions[0].split()) > parts.positions // 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no captions"),
        ('{"a": 1}', "holds no captions"),
        ('[["a"]]', "holds no captions"),
        ("[[-1]]", "holds no captions"),
        ("[[1.5]]", "holds no captions"),
        ("[[99999999999999999999999]]", "no captions|outside of the vocabulary"),
        ("[[1], [2000000]]", "outside of the vocabulary"),
        ("[" * 100_000, "holds no captions"),
        (" " * (LARGEST_FILE + 1), "more than the"),
    ],
)
def test_a_table_of_another_form_is_refused(content: str, reason: str, build: Build, tmp_path: Path) -> None:
    checkpoint = tmp_path / "copy"
    shutil.copytree(build("onnx"), checkpoint)
    (checkpoint / DRAFTS).write_text(content)
    seal(checkpoint, read_manifest(checkpoint))
    with pytest.raises(InputError, match=reason):
        open_captioner(checkpoint, threads=1)


def test_captions_come_from_lines_and_from_captions_files(tmp_path: Path) -> None:
    lines, table = tmp_path / "lines.txt", tmp_path / "flickr.txt"
    lines.write_text("a dog on a beach\n\n  \ntwo men\n")
    table.write_text("1.jpg#0\ta dog on a beach\n1.jpg#1\ta red ball\n")
    assert captions_of(lines) == ["a dog on a beach", "two men"]
    assert captions_of(table) == ["a dog on a beach", "a red ball"]
    with pytest.raises(InputError, match="there is no"):
        captions_of(tmp_path / "none.json")
    (tmp_path / "blank.txt").write_text(" \n\n")
    with pytest.raises(InputError, match=r"blank\.txt has no captions"):
        captions_of(tmp_path / "blank.txt")
    for odd, reason in {tmp_path: "is no file", tmp_path / "notes": "a .txt with a caption in each line"}.items():
        (tmp_path / "notes").write_text("a dog\n")
        with pytest.raises(InputError, match=reason):
            captions_of(odd)
    ids = to_tokens(["a dog", "a dog"], TOKENIZER)
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


@pytest.mark.parametrize("name", ["captions.txt", "captions.json", "captions.csv"])
def test_a_pointer_of_git_lfs_is_no_captions_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")
    with pytest.raises(InputError, match="is a pointer of Git LFS, not the file itself: run `git lfs pull`"):
        captions_of(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_read_as_editors_of_all_systems_write_them(end: str, encoding: str, tmp_path: Path) -> None:
    lines = ["一只猫坐在沙发上", "कुत्ता पार्क में है", "un cafe\u0301 anime\u0301", "مرحبا", "a dog"]
    (tmp_path / "LINES.TXT").write_bytes(end.join(lines).encode(encoding))
    assert captions_of(tmp_path / "LINES.TXT") == lines


def test_as_many_captions_are_kept_as_a_checkpoint_may_have() -> None:
    captions = [[number] * 10 for number in range(50_000)]
    content = bounded(captions)
    assert LARGEST_FILE / 2 - 1000 < len(content) <= LARGEST_FILE
    kept = [row[0] for row in CAPTIONS.validate_json(content)]
    assert kept == list(range(0, 50_000, kept[1]))
