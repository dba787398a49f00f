"""The papers that a run rests on: docstrings name them by their arXiv numbers, a result cites them in full."""

import re
from collections.abc import Iterable

OWN = "difflab, a laboratory for memorization in generative models (CITATION.cff)."
PAPERS = {
    "1503.02531": "G. Hinton et al. Distilling the Knowledge in a Neural Network. 2015.",
    "1512.00567": "C. Szegedy et al. Rethinking the Inception Architecture for Computer Vision. 2016.",
    "1602.05629": "B. McMahan et al. Communication-Efficient Learning of Deep Networks from Decentralized Data. 2017.",
    "1606.05328": "A. van den Oord et al. Conditional Image Generation with PixelCNN Decoders. 2016.",
    "1611.06440": "P. Molchanov et al. Pruning Convolutional Neural Networks for Resource Efficient Inference. 2017.",
    "1706.04599": "C. Guo et al. On Calibration of Modern Neural Networks. 2017.",
    "1708.02002": "T.-Y. Lin et al. Focal Loss for Dense Object Detection. 2017.",
    "1709.01604": "S. Yeom et al. Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting. 2018.",
    "1711.00937": "A. van den Oord et al. Neural Discrete Representation Learning. 2017.",
    "1801.01401": "M. Binkowski et al. Demystifying MMD GANs. 2018.",
    "1803.05407": "P. Izmailov et al. Averaging Weights Leads to Wider Optima and Better Generalization. 2018.",
    "1812.06127": "T. Li et al. Federated Optimization in Heterogeneous Networks. 2020.",
    "2012.07805": "N. Carlini et al. Extracting Training Data from Large Language Models. 2021.",
    "2012.09841": "P. Esser et al. Taming Transformers for High-Resolution Image Synthesis. 2021.",
    "2101.00190": "X. L. Li and P. Liang. Prefix-Tuning: Optimizing Continuous Prompts for Generation. 2021.",
    "2103.10385": "X. Liu et al. GPT Understands, Too. 2021.",
    "2104.08691": "B. Lester et al. The Power of Scale for Parameter-Efficient Prompt Tuning. 2021.",
    "2106.09685": "E. J. Hu et al. LoRA: Low-Rank Adaptation of Large Language Models. 2021.",
    "2202.07646": "N. Carlini et al. Quantifying Memorization Across Neural Language Models. 2023.",
    "2205.10770": "K. Tirumala et al. Memorization Without Overfitting: Analyzing the Training Dynamics of Large "
    "Language Models. 2022.",
    "2207.12598": "J. Ho and T. Salimans. Classifier-Free Diffusion Guidance. 2022.",
    "2210.01504": "J. Jang et al. Knowledge Unlearning for Mitigating Privacy Risks in Language Models. 2023.",
    "2210.09404": "R. Bansal et al. Measures of Information Reflect Memorization Patterns. 2022.",
    "2301.13188": "N. Carlini et al. Extracting Training Data from Diffusion Models. 2023.",
    "2302.01316": "J. Duan et al. Are Diffusion Models Vulnerable to Membership Inference Attacks? 2023.",
    "2302.03668": "Y. Wen et al. Hard Prompts Made Easy. 2023.",
    "2303.07345": "R. Gandikota et al. Erasing Concepts from Diffusion Models. 2023.",
    "2305.18355": "F. Kong et al. An Efficient Membership Inference Attack for the Diffusion Model by Proximal "
    "Initialization. 2024.",
    "2305.18462": "J. Mattern et al. Membership Inference Attacks against Language Models via Neighbourhood "
    "Comparison. 2023.",
    "2305.20086": "G. Somepalli et al. Understanding and Mitigating Copying in Diffusion Models. 2023.",
    "2310.06714": "S. Zeng et al. Exploring Memorization in Fine-tuned Language Models. 2024.",
    "2310.16789": "W. Shi et al. Detecting Pretraining Data from Large Language Models. 2024.",
    "2311.12908": "B. Wallace et al. Diffusion Model Alignment Using Direct Preference Optimization. 2023.",
    "2401.06121": "P. Maini et al. TOFU: A Task of Fictitious Unlearning for LLMs. 2024.",
    "2402.02103": "B. Jayaraman et al. Déjà Vu Memorization in Vision-Language Models. 2024.",
    "2402.07841": "M. Duan et al. Do Membership Inference Attacks Work on Large Language Models? 2024.",
    "2403.03218": "N. Li et al. The WMDP Benchmark: Measuring and Reducing Malicious Use With Unlearning. 2024.",
    "2403.08295": "Gemma Team. Gemma: Open Models Based on Gemini Research and Technology. 2024.",
    "2403.11052": "J. Ren et al. Unveiling and Mitigating Memorization in Text-to-image Diffusion Models through Cross "
    "Attention. 2024.",
    "2404.02905": "K. Tian et al. Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale Prediction. "
    "2024.",
    "2404.02936": "J. Zhang et al. Min-K%++: Improved Baseline for Detecting Pre-Training Data from Large Language "
    "Models. 2024.",
    "2404.05868": "R. Zhang et al. Negative Preference Optimization: From Catastrophic Collapse to Effective "
    "Unlearning. 2024.",
    "2405.11577": "B. Chen et al. A Multi-Perspective Analysis of Memorization in Large Language Models. 2024.",
    "2405.14800": "S. Zhai et al. Membership Inference on Text-to-Image Diffusion Models via Conditional Likelihood "
    "Discrepancy. 2024.",
    "2406.02366": "D. Hintersdorf et al. Finding NeMo: Localizing Neurons Responsible For Memorization in Diffusion "
    "Models. 2024.",
    "2406.03537": "H. Kamkari et al. A Geometric View of Data Complexity: Efficient Local Intrinsic Dimension "
    "Estimation with Diffusion Models. 2024.",
    "2406.06443": "P. Maini et al. LLM Dataset Inference: Did you train on my dataset? 2024.",
    "2406.09179": "Q. Wang et al. Towards Effective Evaluations and Comparisons for LLM Unlearning Methods. 2024.",
    "2406.13356": "S. Hu et al. Unlearning or Obfuscating? Jogging the Memory of Unlearned LLMs via Benign Relearning. "
    "2024.",
    "2406.15968": "R. Xie et al. ReCaLL: Membership Inference via Relative Conditional Log-Likelihoods. 2024.",
    "2406.16201": "D. Das et al. Blind Baselines Beat Membership Inference Attacks for Foundation Models. 2024.",
    "2406.17746": "U. Prashanth et al. Recite, Reconstruct, Recollect: Memorization in LMs as a Multifaceted "
    "Phenomenon. 2025.",
    "2407.06460": "W. Shi et al. MUSE: Machine Unlearning Six-Way Evaluation for Language Models. 2024.",
    "2407.17817": "J. Huang et al. Demystifying Verbatim Memorization in Large Language Models. 2024.",
    "2407.19409": "S. Xu et al. LLAVADI: What Matters for Multimodal Large Language Models Distillation. 2024.",
    "2407.21720": "Y. Wen et al. Detecting, Explaining, and Mitigating Memorization in Diffusion Models. 2024.",
    "2409.13745": "H. Chang et al. Context-Aware Membership Inference Attacks against Pre-trained Large Language "
    "Models. 2024.",
    "2409.18858": "J. Dentan et al. Predicting Memorization within Large Language Models Fine-tuned for "
    "Classification. 2025.",
    "2409.19069": "W. Wang et al. Localizing Memorization in SSL Vision Encoders. 2024.",
    "2410.07163": "C. Fan et al. Simplicity Prevails: Rethinking Negative Preference Optimization for LLM "
    "Unlearning. 2024.",
    "2410.08827": "A. Deeb, F. Roger. Do Unlearning Methods Remove Information from Language Model Weights? 2024.",
    "2410.16454": "Z. Zhang et al. Catastrophic Failure of LLM Unlearning via Quantization. 2025.",
    "2410.19482": "J. Hayes et al. Measuring memorization through probabilistic discoverable extraction. 2024.",
    "2410.21665": "C. Chen et al. Exploring Local Memorization in Diffusion Models via Bright Ending Attention. 2025.",
    "2411.00113": "B. Ross et al. A Geometric Framework for Understanding Memorization in Generative Models. 2025.",
    "2411.12858": "J. Dubinski et al. CDI: Copyrighted Data Identification in Diffusion Models. 2025.",
    "2502.02514": "A. Kowalczuk et al. Privacy Attacks on Image AutoRegressive Models. 2025.",
    "2502.02737": "L. Ben Allal et al. SmolLM2: When Smol Goes Big. 2025.",
    "2503.00592": "N. Kriplani et al. SolidMark: Evaluating Image Memorization in Generative Models. 2025.",
    "2503.01034": "S. Alberti et al. Data Unlearning in Diffusion Models. 2025.",
    "2504.05651": "N. Kokhlikyan et al. Measuring Déjà vu Memorization Efficiently. 2024.",
    "2505.08727": "F. Yu. Memorization-Compression Cycles Improve Generalization. 2025.",
    "2505.16216": "J. Kim et al. Memorization or Reasoning? Exploring the Idiom Understanding of LLMs. 2025.",
    "2505.17638": "T. Bonnaire et al. Why Diffusion Models Don't Memorize. 2025.",
    "2505.24832": "J. X. Morris et al. How much do language models memorize? 2025.",
    "2506.12321": "J. Zhang et al. Beyond Frequency: The Role of Redundancy in Large Language Model "
    "Memorization. 2025.",
    "2507.00258": "J. Hou et al. Impact of Fine-Tuning Methods on Memorization in Large Language Models. 2025.",
    "2507.06056": "Y. Huang et al. Entropy-Memorization Law: Evaluating Memorization Difficulty of Data in LLMs. 2025.",
    "2507.09937": "G. Ghosal et al. Memorization Sinks: Isolating Memorization during LLM Training. 2025.",
    "2507.14805": "A. Cloud et al. Subliminal Learning: Language Models Transmit Behavioral Traits via Hidden "
    "Signals in Data. 2025.",
    "2507.16880": "A. Kowalczuk et al. Finding Dori: Memorization in Text-to-Image Diffusion Models Is Not Local. "
    "2025.",
    "2508.02573": "J. Dentan et al. Guess or Recall? Classifying Memorization by Attention. 2025.",
    "2508.04117": "Z. Ruan et al. Unveiling Over-Memorization in Finetuning LLMs for Reasoning Tasks. 2025.",
    "2508.17689": "S. Buchanan et al. On the Edge of Memorization in Diffusion Models. 2025.",
    "2509.00083": "L. Patel, N. Shanbhag. Data Cartography for Detecting Memorization Hotspots and Guiding Data "
    "Interventions in Generative Models. 2025.",
    "2509.00488": "A. Kasliwal et al. Localizing and Mitigating Memorization in Image Autoregressive Models. 2025.",
    "2509.04866": "B. Ma et al. Memorization != Understanding: Do Large Language Models Have the Ability of Scenario "
    "Cognition? 2025.",
    "2509.13755": "Z. Chu et al. Scrub It Out! Erasing Sensitive Memorization in Code Language Models via Machine "
    "Unlearning. 2025.",
    "2510.08750": "T. Udsa et al. Exploring Cross-Client Memorization of Training Data in Federated Learning. 2025.",
    "2510.12950": "S. Tonekaboni et al. An Investigation of Memorization Risk in Healthcare Foundation Models. 2025.",
    "2510.16022": "C. Wang et al. Breaking Memorization Barriers in LLM Code Fine-Tuning via Information Bottleneck "
    "for Improved Generalization. 2025.",
    "2510.19036": "S. Pericharla et al. From Memorization to Generalization: Fine-Tuning Large Language Models for "
    "Biomedical Term-to-Identifier Normalization. 2025.",
    "2510.19811": "J. Wei et al. Hubble: A Model Suite to Advance the Study of LLM Memorization. 2025.",
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
