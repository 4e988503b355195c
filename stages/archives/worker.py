"""A process that captions an archive's pictures as fast as it can, one request at a time: a worker of the package's
own, or the loop over transformers that people write."""

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from transformers import BertTokenizer
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from stages.captioner.checkpoint import read_manifest
from stages.captioner.command_line import ending_in_one_sentence
from stages.captioner.corpus.calibration import TriedWorker
from stages.captioner.corpus.captioning import Work
from stages.captioner.corpus.manifest import ManifestReader
from stages.captioner.runtimes.decoding import Decoding
from stages.captioner.runtimes.pytorch import load_model

LOOP = "loop"


def open_loop(work: Work, pictures: int) -> Callable[[float], float]:
    """One picture after the other through transformers in float32: pictures per second of so many seconds."""
    checkpoint = Path(work.checkpoint)
    model, tokenizer = load_model(checkpoint), BertTokenizer.from_pretrained(checkpoint)
    processor = BlipImageProcessorPil.from_pretrained(checkpoint)
    lengths = {name: getattr(work.decoding, name) for name in ("max_new_tokens", "min_new_tokens")}
    files = itertools.cycle(picture.path for picture in ManifestReader(work.manifest).read(range(pictures)))

    def caption_one() -> None:
        with Image.open(next(files)) as image:
            pixels = processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            tokens = model.generate(pixel_values=pixels, num_beams=1, do_sample=False, **lengths)
        tokenizer.decode(tokens[0], skip_special_tokens=True)

    def rate(seconds: float) -> float:
        caption_one()
        started = time.perf_counter()
        count = 0
        while time.perf_counter() < started + seconds:
            caption_one()
            count += 1
        return count / (time.perf_counter() - started)

    return rate


def main(kind: str, checkpoint: Path, threads: int, manifest: str, decoding: str, pictures: int) -> None:
    """Answers requests, lines of JSON with `seconds` and `batch_size`, until standard input ends."""
    work = Work(str(checkpoint), Decoding.model_validate_json(decoding), manifest, read_manifest(checkpoint).runtime)
    torch.set_num_threads(threads)
    if kind == LOOP:
        loop = open_loop(work, pictures)
    else:
        worker = TriedWorker()
        worker.open(work, threads, range(pictures))
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        rate = loop(asked["seconds"]) if kind == LOOP else worker.rate(asked["batch_size"], asked["seconds"])
        print(json.dumps(rate), flush=True)


if __name__ == "__main__":
    with ending_in_one_sentence():
        main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5], int(sys.argv[6]))
