"""The small Stable Diffusion, built from nothing: its sizes, its tokenizer, its first weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from difflab.diffusion.pipeline import ready
from difflab.diffusion.tokens import learn_tokenizer
from difflab.errors import require
from difflab.randomness import begin_torch


@dataclass(frozen=True)
class Architecture:
    """Sizes of the small pipeline.

    Attributes:
        side: width and height of a picture in pixels; the latents have a quarter of it.
        latent_channels: channels of the latents.
        widths: channels of the U-Net's blocks, each with cross-attention; the first at the latents' resolution.
        layers: ResNets with attention in each block.
        heads: attention heads.
        vae_widths: channels of the autoencoder's three blocks.
        length: tokens of a caption, begin and end included.
        embedding: dimensions of a token.
        text_layers: layers of the causal text encoder.
        prediction: what the U-Net predicts: "epsilon" (SD 1.x) or "v_prediction" (SD 2.x). In as many steps (8,000,
            an earlier plan) epsilon copied 10 of the 12 most repeated pictures and velocity all; the others
            had the right shapes in colours that the noise of the seed decided.
    """

    side: int = 32
    latent_channels: int = 16
    widths: tuple[int, ...] = (48, 64)
    layers: int = 1
    heads: int = 4
    vae_widths: tuple[int, ...] = (16, 32, 64)
    length: int = 12
    embedding: int = 64
    text_layers: int = 2
    prediction: str = "v_prediction"

    def __post_init__(self) -> None:
        require(self.side % 4 == 0 and self.side >= 16, f"side is {self.side}; give a multiple of 4, at least 16.")
        require(len(self.vae_widths) == 3, "vae_widths are three: the autoencoder halves the picture twice.")
        every = (*self.widths, *self.vae_widths)
        require(min(every) >= 16 and all(width % 16 == 0 for width in every), "widths are multiples of 16.")
        require(
            self.embedding % self.heads == 0 and all(width % self.heads == 0 for width in self.widths),
            f"{self.heads} heads do not divide the embedding and the widths.",
        )
        kinds = ("epsilon", "v_prediction")
        require(self.prediction in kinds, f"prediction is {self.prediction!r}; {' or '.join(kinds)}.")
        latent = self.side // 4
        require(
            len(self.widths) >= 1 and latent % 2 ** (len(self.widths) - 1) == 0,
            f"latents of {latent} pixels can't be halved {len(self.widths) - 1} times.",
        )


def build(captions: Sequence[str], architecture: Architecture, seed: int) -> StableDiffusionPipeline:
    """An untrained pipeline: random weights, tokenizer learned from the captions.

    The text encoder is Stable Diffusion's kind (causal, begin and end tokens) and is meant to stay as it is: its token
    embeddings are drawn from N(0, 1), so that captions which differ in a word lie well apart, as CLIP's do.

    Args:
        captions: all captions that it will be trained on.
        architecture: the sizes.
        seed: of all weights.
    """
    tokenizer = learn_tokenizer(captions, architecture.length)
    with torch.random.fork_rng(devices=[]):
        # Anew for every part: another number of words must not change the others' first weights.
        begin_torch(seed)
        text_encoder = _text_encoder(architecture, tokenizer)
        begin_torch(seed)
        unet = _unet(architecture)
        begin_torch(seed)
        vae = _autoencoder(architecture)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        # Stable Diffusion's own schedule.
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=architecture.prediction,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return ready(pipeline)


def _text_encoder(architecture: Architecture, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=architecture.embedding,
            intermediate_size=2 * architecture.embedding,
            projection_dim=architecture.embedding,
            num_hidden_layers=architecture.text_layers,
            num_attention_heads=architecture.heads,
            max_position_embeddings=architecture.length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    torch.nn.init.normal_(encoder.get_input_embeddings().weight)
    return encoder


def _unet(architecture: Architecture) -> UNet2DConditionModel:
    n_blocks = len(architecture.widths)
    return UNet2DConditionModel(
        sample_size=architecture.side // 4,
        in_channels=architecture.latent_channels,
        out_channels=architecture.latent_channels,
        block_out_channels=architecture.widths,
        layers_per_block=architecture.layers,
        down_block_types=("CrossAttnDownBlock2D",) * n_blocks,
        up_block_types=("CrossAttnUpBlock2D",) * n_blocks,
        cross_attention_dim=architecture.embedding,
        attention_head_dim=architecture.heads,
        norm_num_groups=8,
    )


def _autoencoder(architecture: Architecture) -> AutoencoderKL:
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=architecture.vae_widths,
        layers_per_block=1,
        latent_channels=architecture.latent_channels,
        # Groups of one channel would erase each channel's mean, and with it the colours of plain areas.
        norm_num_groups=4,
        sample_size=architecture.side,
    )
    # The law of a latent starts narrow: noise as large as the signal would have to be unlearned first.
    torch.nn.init.constant_(vae.quant_conv.bias[architecture.latent_channels :], -4.0)
    return vae
