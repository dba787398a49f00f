"""The systems of the literature that the laboratory holds: thirty papers, what each says, and whether it held here.

A verdict is that of the claims of recorded runs, which are computed from their rows. It says whether the mechanism
shows in models as small as ours; it says nothing of the paper's own models.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from difflab.runs import registry
from difflab.runs.record import default_run
from difflab.runs.result import Result

HELD, NOT_HELD, IN_PART = "held", "not held", "held in part"
NOT_TESTABLE, NOT_RUN = "not testable here", "not in the record yet"


class System(NamedTuple):
    """One paper.

    Attributes:
        paper: its arXiv number.
        name: as others call it.
        says: what it says of memorization, in one sentence.
        claims: by experiment, the one that reproduces it first, parts of sentences; those claims of its run that
            hold one of them decide. An experiment without parts is there for a question of ours.
        denies: parts of those claims whose opposite the paper says.
    """

    paper: str
    name: str
    says: str
    claims: Mapping[str, tuple[str, ...]]
    denies: tuple[str, ...] = ()


SYSTEMS = (
    System("2508.17689", "Edge", "Diffusion models begin to copy at 4/5 of the size that holds every point.",
           {"edge_sweep": ("one ratio fits all", "the mean transition is within 0.02 of 0.8")}),
    System("2507.16880", "Dori", "What pruning removes comes back through moved embeddings of the prompt.",
           {"pruning_attacked": ("Dori brings most of what NeMo stopped back",),
            "defenses_compared": ("NeMo: attacks bring back", "Wanda: attacks bring back")}),
    System("2402.02103", "Déjà vu", "A caption reveals objects of its training picture that it never names.",
           {"clip_dejavu": ("hidden auc gap of member and non-member",)}),
    System("2509.00488", "UnitMem", "Few units hold what an image autoregressive model has memorized.",
           {"unit_memorization": ("fewer than without random units",)}),
    System("2411.00113", "Manifold memorization", "Memorized points have a local dimension below that of their law.",
           {"dimension_collapsed": ("at M = N the dimension", "the copied ones have the lower dimension")}),
    System("2410.21665", "Bright ending", "Attention on the last token shows which part of a picture is copied.",
           {"memorization_in_the_picture": ("bright ending",)}),
    System("2509.00083", "GenDataCarto", "Items that are forgotten often in training are the repeated ones.",
           {"data_cartography": ("forget events tell copies",)}),
    System("2507.09937", "Memorization sinks",
           "More than half of what is kept of a repeated text goes with the units that it alone may use.",
           {"memorization_sinks": ("the drop closes more than half",),
            "pictures_isolated": ("the drop closes more than half",)}),
    System("2509.13755", "CodeEraser", "Secrets in code can be unlearned span by span.",
           {"unlearning_attacked": ("code_eraser: at the stop", "code_eraser leaves less", "code_eraser leaves more")}),
    System("2508.04117", "Over-memorization", "A training goes on to memorize after its accuracy has settled.",
           {"training_objectives": ("plain fine-tuning is over-memorized", "answers are as right at the last step")}),
    System("2510.16022", "IB-FT", "A bottleneck beside a layer lets a fine-tune learn instead of memorize.",
           {"training_objectives": ("bottleneck: a lower validation loss", "bottleneck: fewer derivations")}),
    System("2505.08727", "GAPT",
           "Layers that are compressed in turns end with less entropy and loss, and more right outside the range.",
           {"training_objectives": ("gated compression: a lower validation loss", "gated compression: the layer's",
                                    "gated compression: more right answers outside")}),
    System("2507.00258", "Fine-tuning methods", "Learned prompts betray less than changed weights do.",
           {"finetuning_methods": ("betray more than every prompt",)}),
    System("2510.08750", "Cross-client memorization",
           "Clients complete each other's texts, and more texts than a model of pooled rows; FedProx still more.",
           {"cross_client_memorization": ("more with others' texts than with those nobody was trained on",
                                          "more than rows in one place", "more than FedAvg"),
            "cross_client_pictures": ("more than rows in one place", "more than FedAvg")}),
    System("2510.19811", "Hubble", "Membership rises with copies, and falls with early copies and more background.",
           {"text_memorized": ("more copies are told no worse", "copies in the last quarter", "twice the background")}),
    System("2407.17817", "Verbatim memorization", "Verbatim memory takes many copies and comes sooner in later models.",
           {"text_in_time": ("more copies are said", "further from the last checkpoint")}),
    System("2406.17746", "Recite, reconstruct, recollect", "Memorization has kinds that other features predict.",
           {"kinds_of_memorization": ("kinds predict",)}),
    System("2508.02573", "Guess or recall", "Attention tells a guess from a recollection.",
           {"kinds_of_memorization": ("attention tells guess, recall and none",)}),
    System("2507.06056", "Entropy law", "Memorization scores of pools of texts are linear in their entropy.",
           {"entropy_law": ("follow the law",)}),
    System("2506.12321", "Redundancy", "Memorized texts with little redundancy break more easily.",
           {"redundancy_and_fragility": ("of the least redundant",)}),
    System("2205.10770", "Memorization without overfitting", "Larger models forget less of what they saw once.",
           {"text_in_time": ("the widest keeps more",)}),
    System("2405.11577", "Multi-perspective analysis", "Larger models keep more; entropy jumps where writing begins.",
           {"text_by_size": ("more texts are gained than lost", "at the boundary")}),
    System("2310.06714", "Fine-tuned models", "Tasks that need more of the input keep more of it.",
           {"text_by_task": ("more is extracted by tasks",)}),
    System("2409.18858", "PSMI", "Which items will be memorized shows early in training.",
           {"memorization_predicted": (
               "PSMI at a tenth tells which labels are memorized", "PSMI at a tenth tells which answers are memorized",
           )}),
    System("2210.09404", "Measures of information",
           "Entropy of units, and their information of each other, rank models by what they memorize.",
           {"units_rank_models": (
               "label noise: entropy", "label noise: information by neighbours",
               "shortcut: entropy", "shortcut: information by neighbours",
           )}),
    System("2510.12950", "Health records",
           "More of a patient is given away after longer prompts; probes and membership tell next to nothing.",
           {"health_records": ("with longer prompts", "T3", "copies it is told")}, denies=("copies it is told",)),
    System("2510.19036", "Term normalization", "Arbitrary identifiers are memorized, meaningful ones composed.",
           {"term_normalization": ("held-out terms", "fine-tuning raises", "mentions raise")}),
    System("2509.04866", "Scenario cognition", "Models recite a scenario without knowing its roles.",
           {"scenario_cognition": ("one wording: at least", "one wording: fewer")}),
    System("2505.16216", "MIDAS", "Idioms are partly memorized, partly composed.",
           {"idiom_understanding": ("phrases", "equally often")}),
    System("2407.19409", "LLAVADI",
           "Nothing of memorization; whether a teacher's memories pass to a student is our own question.",
           {"distillation_leak": (), "pictures_distilled": ()}),
)  # fmt: skip
"""In the order of the wings, then of the digest of papers."""


def place(experiment: str) -> str:
    """Where an experiment stands among the pages of findings: the page of its wing, and its heading there.

    Returns:
        "" where there is no such experiment yet.
    """
    found = registry.experiments().get(experiment)
    return f"{found.wing}.md#{experiment}" if found else ""


def verdict(system: System, record: Mapping[str, Sequence[Result]]) -> str:
    """Whether what a paper says held here.

    Returns:
        held or not held, where the claims that decide agree; held in part, and in how many of them, where they do not;
        not testable here, where no recorded run makes such a claim; not in the record yet, where there is no run.
    """
    asked = [name for name in system.claims if name in record]
    if not asked:
        return NOT_RUN
    said = [
        held is not any(part in claim for part in system.denies)
        for name in asked
        for claim, held in default_run(name, record).claims.items()
        if any(part in claim for part in system.claims[name])
    ]
    if not said:
        return NOT_TESTABLE
    if len(set(said)) == 1:
        return HELD if said[0] else NOT_HELD
    return f"{IN_PART}, in {sum(said)} of {len(said)} claims"


def unrecorded(system: System, record: Mapping[str, Sequence[Result]]) -> list[str]:
    """Experiments that are asked for, but are not in the record: the verdict does not know of them yet."""
    return [name for name in system.claims if name not in record]
