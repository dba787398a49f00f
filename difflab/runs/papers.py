"""The papers that a run rests on: docstrings name them by their arXiv numbers, a result cites them in full."""

import re
from collections.abc import Iterable

OWN = "difflab, a laboratory for memorization in generative models (CITATION.cff)."
PAPERS = {
    "2301.13188": "N. Carlini et al. Extracting Training Data from Diffusion Models. 2023.",
    "2302.03668": "Y. Wen et al. Hard Prompts Made Easy. 2023.",
    "2303.07345": "R. Gandikota et al. Erasing Concepts from Diffusion Models. 2023.",
    "2305.20086": "G. Somepalli et al. Understanding and Mitigating Copying in Diffusion Models. 2023.",
    "2402.02103": "B. Jayaraman et al. Déjà Vu Memorization in Vision-Language Models. 2024.",
    "2403.11052": "J. Ren et al. Unveiling and Mitigating Memorization in Text-to-image Diffusion Models through Cross "
    "Attention. 2024.",
    "2406.02366": "D. Hintersdorf et al. Finding NeMo: Localizing Neurons Responsible For Memorization in Diffusion "
    "Models. 2024.",
    "2406.03537": "H. Kamkari et al. A Geometric View of Data Complexity: Efficient Local Intrinsic Dimension "
    "Estimation with Diffusion Models. 2024.",
    "2407.21720": "Y. Wen et al. Detecting, Explaining, and Mitigating Memorization in Diffusion Models. 2024.",
    "2410.21665": "C. Chen et al. Exploring Local Memorization in Diffusion Models via Bright Ending Attention. 2025.",
    "2411.00113": "B. Ross et al. A Geometric Framework for Understanding Memorization in Generative Models. 2025.",
    "2503.01034": "S. Alberti et al. Data Unlearning in Diffusion Models. 2025.",
    "2504.05651": "N. Kokhlikyan et al. Measuring Déjà vu Memorization Efficiently. 2024.",
    "2505.17638": "T. Bonnaire et al. Why Diffusion Models Don't Memorize. 2025.",
    "2507.16880": "A. Kowalczuk et al. Finding Dori: Memorization in Text-to-Image Diffusion Models Is Not "
    "Local. 2025.",
    "2508.17689": "S. Buchanan et al. On the Edge of Memorization in Diffusion Models. 2025.",
}


def named(text: str) -> list[str]:
    """The arXiv numbers in a text, each once, in growing order.

    >>> named("Wen et al. 2024 (arXiv 2407.21720), NeMo (arXiv 2406.02366, 2407.21720)")
    ['2406.02366', '2407.21720']
    """
    return sorted(set(re.findall(r"\b\d{4}\.\d{5}\b", text))) if "arXiv" in text else []


def cited(numbers: Iterable[str]) -> str:
    """One line a paper, difflab's own last."""
    lines = [f"{PAPERS[n]} arXiv:{n}" if n in PAPERS else f"arXiv:{n}" for n in numbers]
    return "\n".join([*lines, OWN])
