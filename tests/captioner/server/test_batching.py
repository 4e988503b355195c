from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest
from PIL import Image

from stages.captioner import Captioner, Decoding, InputError, open_captioner
from stages.captioner.server.batching import Batcher


def sizes_and(captioner: Captioner, most: int) -> tuple[list[int], Batcher]:
    sizes: list[int] = []
    return sizes, Batcher(captioner, most, sizes.append)


def test_what_waits_together_is_captioned_together(checkpoint: Path, pictures: list[Image.Image]) -> None:
    with open_captioner(checkpoint) as captioner:
        expected = captioner.caption_with_scores(pictures[:3]) + captioner.caption_with_scores(pictures[3:])
        sizes, batcher = sizes_and(captioner, 3)
        futures = [batcher.submit(picture, captioner.decoding) for picture in pictures]
        with batcher:
            assert [future.result(60) for future in futures] == expected
    assert sizes == [3, 1]


def test_only_equal_decodings_share_a_batch_and_the_first_comes_first(
    checkpoint: Path, pictures: list[Image.Image]
) -> None:
    with open_captioner(checkpoint) as captioner:
        own, short = captioner.decoding, Decoding(max_new_tokens=2)
        sizes, batcher = sizes_and(captioner, 8)
        order: list[str] = []
        for name, decoding in (("a", own), ("b", short), ("c", own), ("d", short)):
            future = batcher.submit(pictures[0], decoding)
            future.add_done_callback(lambda _, name=name: order.append(name))
        with batcher:
            pass
    assert sizes == [2, 2] and order == ["a", "c", "b", "d"]


def test_a_caption_of_its_own_seed_shares_no_batch(checkpoint: Path, pictures: list[Image.Image]) -> None:
    drawn = Decoding(temperature=1.0, seed=5)
    with open_captioner(checkpoint) as captioner:
        [expected] = captioner.caption_with_scores(pictures[:1], drawn)
        sizes, batcher = sizes_and(captioner, 8)
        futures = [batcher.submit(pictures[0], drawn, alone=alone) for alone in (False, True, False)]
        with batcher:
            wait(futures, 60)
    assert sizes == [2, 1] and futures[1].result() == expected


def test_who_has_gone_is_not_captioned(checkpoint: Path, pictures: list[Image.Image]) -> None:
    with open_captioner(checkpoint) as captioner:
        sizes, batcher = sizes_and(captioner, 8)
        futures = [batcher.submit(picture, captioner.decoding) for picture in pictures]
        assert futures[0].cancel() and futures[2].cancel()
        with batcher:
            wait([futures[1], futures[3]], 60)
        assert futures[1].result().text == captioner.caption([pictures[1], pictures[3]])[0]
    assert sizes == [2]
    with pytest.raises(CancelledError):
        futures[0].result()


def test_a_batch_that_fails_is_the_only_one(checkpoint: Path, pictures: list[Image.Image]) -> None:
    with open_captioner(checkpoint) as captioner:
        _, batcher = sizes_and(captioner, 8)
        failing = batcher.submit(pictures[0], Decoding(prompt="dog " * 200))
        other = batcher.submit(pictures[0], captioner.decoding)
        with batcher:
            with pytest.raises(InputError, match="room"):
                failing.result(60)
            assert other.result(60).text
