"""The captioners that people consider instead of BLIP-base, as transformers builds them: their published sizes, random
weights, and what goes into them for one picture.

BLIP-large is none of these: it is a checkpoint like BLIP-base's, see `stages.alternatives.blip_large`.
"""

import stages.sources.hub_environment  # noqa: F401  (first, as its docstring says)

# isort: split

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import transformers
from PIL import Image
from transformers import (
    Florence2Config,
    Florence2ForConditionalGeneration,
    GenerationConfig,
    GitConfig,
    GitForCausalLM,
    GPT2Config,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    PreTrainedConfig,
    PreTrainedModel,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

Inputs = dict[str, Any]
VIT_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
# Any token of the vocabulary stands for a word of a prompt: random weights read all of them alike.
ANY_WORD = 100
FLORENCE_PROMPT = 6  # tokens of «What does the image describe?», which its processor makes of <CAPTION>
SMOLVLM_PROMPT = (3, 11)  # tokens of its chat around «Can you describe this image?», before the picture and after it
LONGEST_EDGE_IN_TILES = 4  # to which SmolVLM's processor enlarges every picture


class Rival(NamedTuple):
    """A captioner: its class and configuration, what a picture is made into, and which of its modules run once per
    picture and not for each token."""

    model: type[PreTrainedModel]
    config: PreTrainedConfig
    prepare: Callable[[PreTrainedConfig, Image.Image], Inputs]
    once_per_picture: tuple[str, ...]


def git_base() -> GitConfig:
    """Source: config.json of microsoft/git-base-coco, whose blanks are transformers' defaults."""
    return GitConfig(
        **VIT_BASE | {"num_hidden_layers": 6},
        vocab_size=30522,
        max_position_embeddings=1024,
        bos_token_id=101,
        eos_token_id=102,
        pad_token_id=0,
        vision_config={**VIT_BASE, "image_size": 224, "patch_size": 16},
    )


def vit_gpt2() -> VisionEncoderDecoderConfig:
    """Source: config.json of nlpconnect/vit-gpt2-image-captioning."""
    encoder = ViTConfig(**VIT_BASE, image_size=224, patch_size=16)
    decoder = GPT2Config(
        n_embd=768,
        n_layer=12,
        n_head=12,
        n_positions=1024,
        vocab_size=50257,
        bos_token_id=50256,
        eos_token_id=50256,
        pad_token_id=50256,
        decoder_start_token_id=50256,
        is_decoder=True,
        add_cross_attention=True,
    )
    return VisionEncoderDecoderConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict())


def florence_2_base() -> Florence2Config:
    """Source: config.json of microsoft/Florence-2-base, in transformers' own form of it, which needs one more token to
    stand for the picture."""
    text = {
        "model_type": "bart",
        "d_model": 768,
        "vocab_size": 51290,
        "max_position_embeddings": 1024,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
        "decoder_start_token_id": 2,
        **{f"{part}_{key}": value for part in ("encoder", "decoder") for key, value in FLORENCE_TEXT.items()},
    }
    return Florence2Config(text_config=text, vision_config=FLORENCE_VISION, image_token_id=51289)


FLORENCE_TEXT = {"layers": 6, "attention_heads": 12, "ffn_dim": 3072}
FLORENCE_SIDE = 768
FLORENCE_VISION = {
    "depths": (1, 1, 9, 1),
    "embed_dim": (128, 256, 512, 1024),
    "num_heads": (4, 8, 16, 32),
    "num_groups": (4, 8, 16, 32),
    "patch_size": (7, 3, 3, 3),
    "patch_stride": (4, 2, 2, 2),
    "window_size": 12,
    "projection_dim": 768,
}


def smolvlm_256m() -> Idefics3Config:
    """Source: config.json of HuggingFaceTB/SmolVLM-256M-Instruct, which is an Idefics3."""
    text = {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49280,
        "max_position_embeddings": 8192,
        "bos_token_id": 1,
        "eos_token_id": 49279,
        "pad_token_id": 2,
    }
    vision = {**VIT_BASE, "image_size": 512, "patch_size": 16}
    return Idefics3Config(
        text_config=text, vision_config=vision, scale_factor=4, image_token_id=49190, tie_word_embeddings=False
    )


def for_git(config: GitConfig, image: Image.Image) -> Inputs:
    """Pixels, (1, 3, side, side)."""
    side = config.vision_config.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return {**processor(images=[image], return_tensors="pt"), "input_ids": torch.tensor([[config.bos_token_id]])}


def for_vit_gpt2(config: VisionEncoderDecoderConfig, image: Image.Image) -> Inputs:
    """Pixels, (1, 3, side, side)."""
    side = config.encoder.image_size
    return dict(ViTImageProcessorPil(size={"height": side, "width": side})(images=[image], return_tensors="pt"))


def for_florence_2(config: Florence2Config, image: Image.Image) -> Inputs:
    """Pixels, (1, 3, 768, 768), and a prompt in which a token stands for each state of the picture."""
    size = {"height": FLORENCE_SIDE, "width": FLORENCE_SIDE}
    pixels = CLIPImageProcessorPil(size=size, do_center_crop=False)(images=[image], return_tensors="pt")
    text, places = config.text_config, (FLORENCE_SIDE // 32) ** 2 + 1  # all patches, and their mean
    prompt = [config.image_token_id] * places + [text.bos_token_id, *[ANY_WORD] * FLORENCE_PROMPT, text.eos_token_id]
    return {**pixels, "input_ids": torch.tensor([prompt])}


def for_smolvlm(config: Idefics3Config, image: Image.Image) -> Inputs:
    """Pixels, (1, tiles, 3, side, side), as its processor makes them by default: the picture enlarged and split into
    tiles, and once more as a whole. 384 x 384 gives 17, as every square does, and 640 x 480 gives 13."""
    return _for_idefics3(config, image, split=True)


def for_smolvlm_whole(config: Idefics3Config, image: Image.Image) -> Inputs:
    """Pixels, (1, 1, 3, side, side): the picture as one tile."""
    return _for_idefics3(config, image, split=False)


def _for_idefics3(config: Idefics3Config, image: Image.Image, split: bool) -> Inputs:
    side = config.vision_config.image_size
    processor = Idefics3ImageProcessorPil(
        size={"longest_edge": LONGEST_EDGE_IN_TILES * side},
        max_image_size={"longest_edge": side},
        do_image_splitting=split,
    )
    pixels = processor(images=[image], return_tensors="pt")
    states = (side // config.vision_config.patch_size // config.scale_factor) ** 2
    tile = [ANY_WORD, ANY_WORD, *[config.image_token_id] * states]  # two tokens say which tile it is
    before, after = ([ANY_WORD] * words for words in SMOLVLM_PROMPT)
    prompt = [*before, *tile * pixels["pixel_values"].shape[1], *after]
    return {**pixels, "input_ids": torch.tensor([prompt])}


RIVALS = {
    "git_base": Rival(GitForCausalLM, git_base(), for_git, ("git.image_encoder", "git.visual_projection")),
    "vit_gpt2": Rival(VisionEncoderDecoderModel, vit_gpt2(), for_vit_gpt2, ("encoder",)),
    "florence_2_base": Rival(
        Florence2ForConditionalGeneration,
        florence_2_base(),
        for_florence_2,
        ("model.vision_tower", "model.multi_modal_projector", "model.language_model.encoder"),
    ),
    "smolvlm_256m_whole": Rival(
        Idefics3ForConditionalGeneration,
        smolvlm_256m(),
        for_smolvlm_whole,
        ("model.vision_model", "model.connector"),
    ),
    "smolvlm_256m": Rival(
        Idefics3ForConditionalGeneration, smolvlm_256m(), for_smolvlm, ("model.vision_model", "model.connector")
    ),
}


def build(rival: Rival) -> PreTrainedModel:
    """The captioner with seeded random weights, in float32, ready to caption."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    return rival.model(rival.config).eval().requires_grad_(False)


@torch.inference_mode()
def caption(model: PreTrainedModel, inputs: Inputs, new_tokens: int) -> list[int]:
    """The ids of exactly so many new tokens, greedily, with what was computed of the earlier ones kept."""
    text = model.config.get_text_config(decoder=True)
    chosen = GenerationConfig(
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        bos_token_id=text.bos_token_id,
        eos_token_id=text.eos_token_id,
        pad_token_id=text.pad_token_id,
        decoder_start_token_id=getattr(text, "decoder_start_token_id", None),
    )
    tokens: list[int] = model.generate(**inputs, generation_config=chosen)[0].tolist()
    return tokens[-new_tokens:]
