"""A captioner inside a program that does other things too."""

import math
import os
import shutil
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration

from stages.captioner import Caption, Captioner, Decoding, InputError, open_captioner
from stages.optimize import optimize
from stages.setup.params import Recipe
from tests.conftest import Build, with_weights

RUNTIMES = ["quantized", "onnx_int8", "openvino_int8"]  # a checkpoint for each
SAMPLED = Decoding(temperature=1.5, max_new_tokens=8, seed=3)


@pytest.mark.parametrize("name", RUNTIMES)
def test_threads_that_share_a_captioner_get_what_each_would_get_alone(
    name: str, build: Build, pictures: list[Image.Image]
) -> None:
    jobs = [
        (picture, decoding)
        for decoding in (Decoding(max_new_tokens=6), Decoding(max_new_tokens=9, beams=3), SAMPLED)
        for picture in pictures
    ]
    with open_captioner(build(name), threads=1) as captioner, ThreadPoolExecutor(4) as pool:
        alone = [captioner.caption([picture], decoding) for picture, decoding in jobs]
        assert list(pool.map(lambda job: captioner.caption([job[0]], job[1]), jobs)) == alone
    assert len({caption for (caption,) in alone}) > 1


def test_captioners_of_all_runtimes_live_side_by_side(build: Build, pictures: list[Image.Image]) -> None:
    names = [*RUNTIMES, *RUNTIMES]
    alone = []
    for name in names:
        with open_captioner(build(name), threads=1) as captioner:
            alone.append([captioner.caption([picture], SAMPLED) for picture in pictures])

    def caption_all(captioner: Captioner) -> list[list[str]]:
        return [captioner.caption([picture], SAMPLED) for picture in pictures]

    with ThreadPoolExecutor(len(names)) as pool:
        captioners = list(pool.map(lambda name: open_captioner(build(name), threads=1), names))
        assert list(pool.map(caption_all, captioners)) == alone
        captioners[0].close()
        assert caption_all(captioners[len(RUNTIMES)]) == alone[0]


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_closed_captioner_has_given_back_all_that_it_held(
    name: str, build: Build, pictures: list[Image.Image], tmp_path: Path
) -> None:
    checkpoint = Path(shutil.copytree(build(name), tmp_path / "own"))
    with open_captioner(checkpoint) as captioner:
        assert captioner.caption(pictures[:2], SAMPLED)
        parts = weakref.ref(captioner.parts)
        assert sys.platform != "linux" or name == "quantized" or mapped(checkpoint)
    assert parts() is None
    assert not mapped(checkpoint)
    for use in (lambda: captioner.caption(pictures), lambda: captioner.caption([]), lambda: captioner.parts):
        with pytest.raises(InputError, match="this captioner is closed: open its checkpoint again"):
            use()
    captioner.close()


def mapped(folder: Path) -> list[str]:
    """The files of a folder that this process has mapped."""
    maps = Path("/proc/self/maps")
    return [line for line in maps.read_text().splitlines() if str(folder) in line] if maps.is_file() else []


def test_the_random_numbers_and_threads_of_the_process_stay_its_own(build: Build, pictures: list[Image.Image]) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.backends.quantized.engine
    with open_captioner(str(build("quantized"))) as captioner:
        captioner.caption(pictures, SAMPLED)
        captioner.caption(pictures)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.backends.quantized.engine) == before[1:]


def test_decoding_is_the_checkpoint_s_own_by_default(build: Build, pictures: list[Image.Image]) -> None:
    with open_captioner(build("onnx_int8")) as captioner:
        assert captioner.decoding == Decoding()
        assert captioner.caption(pictures) == captioner.caption(pictures, captioner.decoding)
        assert captioner.caption([]) == []


@pytest.mark.parametrize("name", RUNTIMES)
def test_captions_come_with_scores_if_one_asks(name: str, build: Build, pictures: list[Image.Image]) -> None:
    with open_captioner(build(name), threads=1) as captioner:
        for decoding in (None, Decoding(beams=2, max_new_tokens=6), SAMPLED):
            captions = captioner.caption_with_scores(pictures, decoding)
            assert [caption.text for caption in captions] == captioner.caption(pictures, decoding)
            assert all(isinstance(caption, Caption) and -math.inf < caption.score < 0 for caption in captions)
            assert {caption.beam_score is None for caption in captions} == {decoding is None or decoding.beams == 1}
        assert captioner.caption_with_scores([]) == []
    with pytest.raises(InputError, match="this captioner is closed"):
        captioner.caption_with_scores(pictures)


@pytest.mark.parametrize("runtime", ["pytorch", "onnxruntime"])
def test_the_empty_caption_has_a_score(
    runtime: str, baseline: Path, calibration: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    def end_at_once(model: BlipForConditionalGeneration) -> None:
        model.text_decoder.cls.predictions.decoder.bias[model.config.text_config.sep_token_id] += 1000

    checkpoint = with_weights(baseline, tmp_path / "pytorch", end_at_once)
    if runtime == "onnxruntime":
        optimize(checkpoint, Recipe(runtime="onnxruntime"), calibration, tmp_path / "onnxruntime")
    with open_captioner(tmp_path / runtime, threads=1) as captioner:
        assert captioner.caption_with_scores(pictures[:1]) == [Caption("", pytest.approx(0, abs=1e-6), None)]
        [found] = captioner.caption_with_scores(pictures[:1], Decoding(beams=2, length_penalty=2))
        assert found == Caption("", pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))


def test_pictures_of_any_mode_are_captioned(build: Build, pictures: list[Image.Image]) -> None:
    gray = pictures[0].convert("L")
    with open_captioner(build("onnx_int8")) as captioner:
        expected = captioner.caption([pictures[0], gray])
        for mode in ("RGBA", "RGBX", "CMYK"):
            assert captioner.caption([pictures[0].convert(mode), gray.convert("LA")]) == expected, mode
        for mode in ("1", "P", "PA", "La", "RGBa", "I;16", "I", "F", "YCbCr", "HSV", "LAB"):
            assert len(captioner.caption([Image.new(mode, (30, 20))])) == 1, mode


@pytest.mark.parametrize("wrong", ["photo.jpg", os.curdir, None, b"\xff\xd8"])
def test_what_is_no_picture_is_refused_in_words(build: Build, wrong: object) -> None:
    with (
        open_captioner(build("onnx_int8")) as captioner,
        pytest.raises(InputError, match="is no picture of Pillow's: open its file with `open_image`"),
    ):
        captioner.caption([wrong])  # type: ignore[list-item]


def test_a_damaged_picture_is_refused_in_words(build: Build, tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 90).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:900])
    with (
        open_captioner(build("onnx_int8")) as captioner,
        Image.open(tmp_path / "half.png") as picture,
        pytest.raises(InputError, match=r"a picture can't be decoded \(.*truncated"),
    ):
        captioner.caption([picture])
