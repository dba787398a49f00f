"""What a pipeline must be for difflab to draw from it as its owner does; anything else is refused in one sentence."""

from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

from difflab.errors import InputError, reason, require

PREDICTIONS = ("epsilon", "v_prediction", "sample")
_BESIDE_THE_PROMPT = (
    "class_embed_type",
    "num_class_embeds",
    "addition_embed_type",
    "encoder_hid_dim_type",
    "encoder_hid_dim",
    "time_cond_proj_dim",
)
"""Settings of U-Nets that are told more than a time and a prompt: classes, sizes, pictures, a strength of guidance."""
_OF_OTHER_TASKS = {9: "inpainting", 5: "depth", 8: "edited pictures", 7: "enlarging"}


def check(pipeline: StableDiffusionPipeline, name: str) -> None:
    """Refuse what cannot be honoured, before anything is drawn.

    Args:
        pipeline: the parts as they were loaded, the scheduler that was saved with them.
        name: how sentences call it.

    Raises:
        InputError: its latents, texts, scheduler or float types are none that difflab draws with.
    """
    require(
        isinstance(pipeline.unet, UNet2DConditionModel),
        f"{name} has a {type(pipeline.unet).__name__}; give a pipeline with a UNet2DConditionModel.",
    )
    _check_types(pipeline, name)
    _check_latents(pipeline, name)
    _check_text(pipeline, name)
    _check_scheduler(pipeline.scheduler, name)


def _check_types(pipeline: StableDiffusionPipeline, name: str) -> None:
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    types = {str(value.dtype).removeprefix("torch.") for part in parts for value in part.parameters()}
    require(len(types) == 1, f"{name} is {' and '.join(sorted(types))} in parts; call pipeline.to(dtype) before.")
    places = {str(value.device) for part in parts for value in part.parameters()}
    require(
        len(places) == 1 and "meta" not in places,
        f"{name} lies on {' and '.join(sorted(places))}; call pipeline.to(device) before, without offloading.",
    )
    for part in parts:
        for key, value in part.state_dict().items():
            require(
                not value.is_floating_point() or bool(value.isfinite().all()),
                f"{name}: {key} of the {type(part).__name__} is not finite as {value.dtype}; fetch or save it again, or"
                " give another dtype.",
            )


def _check_latents(pipeline: StableDiffusionPipeline, name: str) -> None:
    """Channels, height and width: those of the U-Net are those of the autoencoder."""
    config, vae = pipeline.unet.config, pipeline.vae
    size = config.sample_size
    sides = (size, size) if isinstance(size, int) else size
    whole = isinstance(sides, list | tuple) and [type(side) for side in sides] == [int, int]
    require(
        whole and min(sides) >= 1,
        f"{name}: sample_size of the U-Net is {size!r}; write the latents' side, or [height, width], into"
        " unet/config.json (64 for SD 1.x).",
    )
    n, n_out, channels = config.in_channels, config.out_channels, vae.config.latent_channels
    task = f" (made for {_OF_OTHER_TASKS[n]})" if n in _OF_OTHER_TASKS and n != channels else ""
    require(
        n == n_out == channels,
        f"{name}: the U-Net takes {n} channels{task} and gives {n_out}, the autoencoder has {channels}; give a pipeline"
        " that draws from a prompt alone.",
    )
    for setting in _BESIDE_THE_PROMPT:
        value = config.get(setting)
        require(
            value is None,
            f"{name}: {setting} of the U-Net is {value!r}; give one that is told a prompt and a time alone.",
        )
    factor = pipeline.vae_scale_factor
    with torch.no_grad():
        drawn = vae.decode(torch.zeros(1, channels, 2, 4, dtype=vae.dtype, device=vae.device)).sample.shape
    require(
        drawn[1:] == (3, 2 * factor, 4 * factor),
        f"{name}: the autoencoder makes {tuple(drawn[1:])} of latents of 2 x 4 where its blocks say"
        f" {(3, 2 * factor, 4 * factor)}; give one of colour pictures, enlarged {factor} times.",
    )
    scale = vae.config.get("scaling_factor")
    require(
        isinstance(scale, int | float) and 0 < scale < float("inf"),
        f"{name}: scaling_factor of the autoencoder is {scale!r}; write a number above 0 into vae/config.json.",
    )


def _check_text(pipeline: StableDiffusionPipeline, name: str) -> None:
    """The tokenizer's words are those of the text encoder, whose width is the U-Net's."""
    tokenizer, text, wanted = pipeline.tokenizer, pipeline.text_encoder, pipeline.unet.config.cross_attention_dim
    widths = {wanted} if isinstance(wanted, int) else set(wanted)
    width = text.config.hidden_size
    require(
        widths == {width},
        f"{name}: the text encoder is {width} wide and the U-Net reads {', '.join(map(str, sorted(widths)))}; give the"
        " text encoder that it was trained with.",
    )
    n, rows = len(tokenizer), text.get_input_embeddings().num_embeddings
    require(
        len(set(tokenizer.all_special_ids)) < n <= rows,
        f"{name}: the tokenizer knows {n} words and the text encoder {rows}; give the tokenizer's files that belong to"
        " it.",
    )
    length, most = tokenizer.model_max_length, getattr(text.config, "max_position_embeddings", None)
    require(
        most is None or 2 < length <= most,
        f"{name}: the tokenizer gives up to {length} tokens and the text encoder reads {most}; set model_max_length in"
        " tokenizer/tokenizer_config.json.",
    )
    require(
        not getattr(text.config, "use_attention_mask", False),
        f"{name}: the text encoder is told which tokens are padding (use_attention_mask in its config.json); give one"
        " that reads them all, as Stable Diffusion's does.",
    )
    sides = {setting: getattr(tokenizer, setting, "right") for setting in ("padding_side", "truncation_side")}
    for setting, side in sides.items():
        require(
            side == "right",
            f"{name}: {setting} of the tokenizer is {side!r}; prompts are padded and cut on the right here: set it to"
            " right in tokenizer/tokenizer_config.json.",
        )
    several = sorted(word for word in tokenizer.get_added_vocab() if f"{word}_1" in tokenizer.get_added_vocab())
    require(
        not several,
        f"{name}: the tokenizer knows {several[:1]} as several vectors of textual inversion, which are not written out"
        " in prompts here; give a pipeline without it.",
    )
    require(
        tokenizer.pad_token_id is not None,
        f"{name}: the tokenizer has no token to pad with; set pad_token in its files.",
    )


def _check_scheduler(scheduler: Any, name: str) -> None:
    """DDIM draws with what diffusers calls compatible with it, if it keeps what the network was trained for."""
    kind, config = type(scheduler).__name__, scheduler.config
    known = isinstance(scheduler, DDIMScheduler) or DDIMScheduler.__name__ in getattr(scheduler, "_compatibles", ())
    flow = [key for key in ("use_flow_sigmas", "use_dynamic_shifting") if config.get(key)]
    flow += ["prediction_type"] if "flow" in str(config.get("prediction_type")) else []
    require(
        known and not flow,
        f"{name}: the scheduler is a {kind}{f' with {flow[0]}' if flow else ''}, whose model DDIM cannot draw from;"
        " give a pipeline trained on DDPM's noise (DDIM, PNDM, Euler, DPM-Solver and the like).",
    )
    wanted = config.get("prediction_type", "epsilon")
    require(
        wanted in PREDICTIONS, f"{name}: the scheduler's prediction_type is {wanted!r}; give {', '.join(PREDICTIONS)}."
    )
    made = ddim(scheduler, name)
    bars = made.alphas_cumprod
    n = config.get("num_train_timesteps")
    require(
        len(bars) == n
        and bool(bars.isfinite().all())
        and bool((bars >= 0).all())
        and bool((bars[1:] <= bars[:-1]).all()),
        f"{name}: the scheduler's betas give no falling signal of {n} times; mend scheduler/scheduler_config.json.",
    )
    require(
        wanted == "v_prediction" or float(bars[-1]) > 0,
        f"{name}: the scheduler ends in pure noise (rescale_betas_zero_snr) and the network predicts {wanted}, which"
        " cannot be divided out; give v_prediction or rescale_betas_zero_snr false.",
    )


def ddim(scheduler: Any, name: str) -> DDIMScheduler:
    """DDIM with the noise, the prediction type and the spacing of steps of another scheduler.

    Raises:
        InputError: it has settings that DDIM does not know.
    """
    try:
        made = DDIMScheduler.from_config(dict(scheduler.config), clip_sample=False)
        made.set_timesteps(2)
        return made
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"{name}: DDIM does not know the scheduler's settings: {reason(error)}.") from error
