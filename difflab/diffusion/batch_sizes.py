"""How many predictions a model makes at once: enough of the small one to fill two cores, few of SD 1.x."""

from diffusers import StableDiffusionPipeline

from difflab.diffusion.pipeline import latent_size

AT_ONCE = 128
"""Pictures of the small model drawn in one batch unless told: enough to fill two cores."""


def fitting(pipeline: StableDiffusionPipeline) -> int:
    """Pictures to draw in one batch: `AT_ONCE` of the small model, 8 of SD 1.x, in proportion to their latents."""
    height, width = latent_size(pipeline)
    return max(1, AT_ONCE * 1024 // (pipeline.unet.config.in_channels * height * width))


def within(pipeline: StableDiffusionPipeline, asked: int) -> int:
    """As many predictions at once as were asked for, or fewer: `fitting` for each `AT_ONCE` of them."""
    return max(1, min(asked, asked * fitting(pipeline) // AT_ONCE))


def with_gradients(pipeline: StableDiffusionPipeline) -> int:
    """Predictions that can be held at once for their gradients: `AT_ONCE` of the small model, 1 of SD 1.x.

    In proportion to the first block's activations, of which every layer keeps some.
    """
    height, width = latent_size(pipeline)
    return max(1, AT_ONCE * 64 * 48 // (height * width * pipeline.unet.config.block_out_channels[0]))


def searches_at_once(pipeline: StableDiffusionPipeline, each: int) -> int:
    """Searches side by side where each makes so many predictions a step, at least one of which it holds."""
    return max(1, min(fitting(pipeline) // each, with_gradients(pipeline)))
