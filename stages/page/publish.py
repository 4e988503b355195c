"""A folder that can be uploaded to a model hub: a checkpoint, whole, and a card with what was measured of it.

The card is the folder's README.md, which hubs show and `checkpoint.json` doesn't seal.
"""

import stages.sources.hub_environment  # noqa: F401  (first, as its docstring says)

# isort: split

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.captioner.checkpoint import (
    BASELINE,
    CARD,
    MODELS,
    Manifest,
    checkpoint_bytes,
    read_manifest,
    replacing,
    verify_files,
)
from stages.captioner.command_line import InputError, printable, run
from stages.choice.one_run import stages_to_rerun
from stages.records.metrics import REPORTS, Figures, read_metrics
from stages.setup.params import DEMO_FOLDER, Coco, Dataset, Params, in_flow_style, read_params

DIST, HERE = Path("dist"), Path(__file__).parent
LICENSE, BSD_3_CLAUSE = Path("LICENSE"), HERE / "bsd-3-clause.txt"
SALESFORCE = "Salesforce/blip-image-captioning-"
# As hubs name what image captioning does.
TASK = "image-to-text"
# Our metrics: a hub's name of each, and a person's.
METRICS = {
    "cider": ("cider", "CIDEr"),
    "bleu_4": ("bleu", "BLEU-4"),
    "rouge_l": ("rouge", "ROUGE-L"),
    "exact_match": ("exact_match", "Exact match"),
    "same_caption": ("same_caption", "Same caption as the unchanged model"),
}
FORMATS = {"pytorch": "safetensors", "onnxruntime": "onnx", "openvino": "openvino"}
EXTRAS = {"pytorch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}
DATASETS = {
    "scenes": "drawn scenes",
    "photographs": "public-domain photographs of scikit-image",
    "folder": "photographs without captions",
    "noise": "noise",
}


def publish(variant: str, output: Path) -> None:
    """Writes a variant's checkpoint and its card into a folder, whole or not at all.

    Raises InputError if there is no such variant, if its checkpoint is damaged, or if the reports are not of this very
    checkpoint, its baseline, these pictures and these settings.
    """
    params = read_params()
    params.recipe(variant)
    checkpoint = MODELS / variant
    manifest = read_manifest(checkpoint)
    verify_files(checkpoint, manifest)
    _check_measured(variant, manifest, params)
    figures = {
        name: {part: read_metrics(REPORTS / part / f"{name}.json") for part in ("benchmark", "quality")}
        for name in (BASELINE.name, variant)
    }
    card = make_card(variant, manifest, figures, read_metrics(REPORTS / "host.json"), params.chosen_model().dataset)
    with replacing(output) as unfinished:
        for name in ("checkpoint.json", *manifest.files):
            (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkpoint / name, unfinished / name)
        (unfinished / CARD).write_text(card, encoding="utf-8")
        if text := licence(manifest.origin)[1]:
            shutil.copyfile(text, unfinished / LICENSE.name)
        verify_files(unfinished, manifest)


def _check_measured(variant: str, manifest: Manifest, params: Params) -> None:
    """That the reports are of this checkpoint, by DVC's records of the bytes that each stage took and gave."""
    remedy = "run `dvc repro` and then this again"
    source = params.chosen_model().source.model_dump(mode="json", exclude_none=True)
    if manifest.origin != source:
        made_of, chosen = (" ".join(map(str, origin.values())) for origin in (manifest.origin, source))
        raise InputError(
            f"models/{variant} was made of another model ({made_of}) than params.yaml chooses ({chosen}): {remedy}"
        )
    each = [f"{stage}{of}" for stage in ("evaluate", "benchmark") for of in ("_baseline", f"@{variant}")]
    if changed := stages_to_rerun(Path(), ["dataset", f"optimize@{variant}", *each]):
        raise InputError(
            f"the reports are not of this models/{variant}, as {changed[0]} would have to run again: {remedy}"
        )


def make_card(variant: str, manifest: Manifest, figures: Figures, machine: dict[str, Any], dataset: Dataset) -> str:
    """A model card: the YAML header that hubs read, and what people want to know. `figures` has the baseline's, too."""
    environment = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True)
    environment.filters["in_flow_style"] = in_flow_style
    text = environment.get_template("card.md.jinja").render(
        name=variant,
        manifest=manifest,
        salesforce=str(manifest.origin.get("hub")).startswith(SALESFORCE),
        demo=manifest.origin.get("folder") == DEMO_FOLDER,
        licence=licence(manifest.origin)[0],
        extra=EXTRAS[manifest.runtime],
        machine=machine,
        dataset=describe_dataset(dataset),
        own=figures[variant],
        baseline=figures[BASELINE.name],
        metrics=METRICS,
    )
    header = make_header(variant, manifest, figures[variant]["quality"], dataset)
    return str(ModelCard(f"---\n{header.to_yaml()}\n---\n{text}"))


def make_header(variant: str, manifest: Manifest, quality: dict[str, Any], dataset: Dataset) -> ModelCardData:
    """What a hub files a model under."""
    measured = [name for name in METRICS if manifest.trained and name in quality]
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset.kind,
            dataset_name=describe_dataset(dataset),
            dataset_args={"pictures": quality["images"]},
            metric_type=METRICS[name][0],
            metric_name=METRICS[name][1],
            metric_value=quality[name],
        )
        for name in measured
    ]
    quantized = "quantize" in manifest.recipe
    relation: dict[str, Any] = {"base_model_relation": "quantized"} if quantized and "hub" in manifest.origin else {}
    return ModelCardData(
        license=licence(manifest.origin)[0],
        base_model=manifest.origin.get("hub"),
        # Else a hub would take config.json for transformers' and show code that can't load this.
        library_name="blip_on_cpu",
        pipeline_tag=TASK,
        tags=["blip", "image-captioning", "cpu", FORMATS[manifest.runtime], *(["int8"] if quantized else [])],
        metrics=[METRICS[name][0] for name in measured] or None,
        model_name=variant,
        eval_results=results or None,
        **relation,
    )


def licence(origin: dict[str, Any]) -> tuple[str | None, Path | None]:
    """The SPDX name of a model's licence in small letters, and the file with its text; none where it is not known."""
    if str(origin.get("hub")).startswith(SALESFORCE):
        return "bsd-3-clause", BSD_3_CLAUSE
    if origin.get("folder") == DEMO_FOLDER or "untrained" in origin:
        return "mit", LICENSE
    return None, None


def describe_dataset(dataset: Dataset) -> str:
    """A name for the pictures that says nothing of the publisher's folders."""
    if isinstance(dataset, Coco):
        return printable(Path(dataset.annotations).stem).replace("`", "'")
    return DATASETS[dataset.kind]


def main(variant: Annotated[str, typer.Argument(help="a key of `variants` in params.yaml")]) -> None:
    """Writes dist/VARIANT, to be uploaded to a model hub."""
    output = DIST / variant
    publish(variant, output)
    print(f"{output.as_posix()} is {checkpoint_bytes(output) / 1e6:.1f} MB; upload it with")
    print(f"hf upload OWNER/NAME {output.as_posix()} .")


if __name__ == "__main__":
    run(main)
