"""Does a model of patients' records remember their sensitive codes, or infer them, and do six tests tell which?

The audit of `difflab records` and `difflab.records` as an experiment, for the page and the record: without a model it
trains small Llamas on records of a hidden disease, and asks the six tests of Tonekaboni et al. 2025 (arXiv 2510.12950)
about planted patients, by how often their record was in the training set, beside twins that nobody was trained on. The
sensitive code of half of them is that of their disease, so that it can be inferred from the visits before it; of the
others it is arbitrary. T1: trajectories by earth mover's distance; T2: sensitive codes in them; T3: a probe; T4:
membership by the least likely codes (arXiv 2310.16789); T5: other identifiers; T6: rare diseases.

The paper finds on EHRMamba2 and MIMIC-IV that leakage rises with the prompt, that probes are near chance (T3), and that
membership is not significant (T4). Expect with many copies T1 and T2 to rise with the prompt for planted patients
alone, T4 to be chance without copies, and T5 to tell arbitrary codes from inferable ones with an AUC of 0.8. The
mechanism is reproduced, the paper's numbers are not comparable: its model and its data are not public.

Differs: patients do not exist. Codes have vectors by their disease in place of vectors of their labels, and T3 fits a
logistic regression on patients whom nobody is trained on. No code is published for T5 and T6; here T5 replaces
identifiers, and T6 compares patients of rare diseases with others. What the prompt holds is never asked for; that, and
two other habits of the published code, are named options. Records are short: prompts are the identifiers, then the
first 7, 11 and 15 codes, which hold them, in place of the first 10, 20 and 50. How T1 and T2 rise with the prompt is
measured from 7 to 15; what the identifiers alone bring back has rows and no claim. Time goes on by the median of what
a code takes, not by published steps.

Intervals: Wilson's and Student's over patients and Student's over worlds, one a seed; the wider. Cost on two cores:
about 8 minutes.
"""

from difflab.audits.planted_records import copied
from difflab.audits.records import SMOKE, Config, claims, figures, run
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from synthetic.data.visit_records import ARBITRARY

__all__ = ["SMOKE", "Config", "answer", "claims", "figures", "run"]


def answer(run: Recorded) -> Answer:
    """What is told after the longest prompt of patients with the most copies, and what T5 makes of it."""
    areas = run.rows("collapse_auc")
    most = max(row.setting.get("copies", 0) for row in areas)
    prompt = run.rows("told_fraction")[-1].setting["prompt"]
    told, guessed = (
        run.number("told_fraction", prompt=prompt, patients=f"{ARBITRARY}, {name}") for name in (copied(most), "twins")
    )
    return Answer(
        f"With {most} copies a share of {told} of the trajectories tells an arbitrary sensitive code ({prompt} codes"
        f" given), of twins {guessed}; other identifiers tell arbitrary from inferable codes with an AUC of"
        f" {run.number('collapse_auc', copies=most)}.",
        "leakage rises with the prompt; probes and membership near chance",
        "told",
        "After which prompt are sensitive codes told of planted patients and not of twins?",
    )
