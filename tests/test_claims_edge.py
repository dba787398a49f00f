"""What the claims of experiments/edge say of rows made by hand; a boundary is met from both sides."""

import pytest
from handmade import Case, Experiment, agrees, case, claims_of, flat, row

CELLS = "cells"
EXACT, CLOSED_1, CLOSED_2 = "exact losses", "closed form, C = 1", "closed form, C = 2"


def crossover_predicted(exact=(0.5, 0.9), excess=((0.9, 0.8, 1.0), (1.1, 1.0, 1.2)), ratios=(1.048, 1.0, 0.952)):
    rows = [row("crossover_fraction", 0.1, variance=1.0, t=0.5, prediction=EXACT)]
    for variance, value in zip((0.5, 2.0), exact, strict=True):
        for name, told in ((EXACT, value), (CLOSED_1, 0.5), (CLOSED_2, 0.9)):
            here = {"variance": variance, "prediction": name}
            rows.append(row("crossover_fraction", told, **here, parameterization="x0"))
            rows.append(row("crossover_fraction", 1 - told, **here, parameterization="eps"))
    for size, c, found in zip((10, 20), (1.0, 0.5), excess, strict=True):
        here = {"variance": 1.0, "t": 0.36, "size": size, "size_over_n": size / 40}
        rows.append(row("excess_loss", *found, **here, denoiser="partly memorizing"))
        rows += [row("excess_loss", k * c, **here, denoiser=name) for k, name in ((1, CLOSED_1), (2, CLOSED_2))]
    for t, ratio in zip((0.4, 0.65, 0.7), ratios, strict=True):
        rows.append(row("generalizing_excess_ratio", ratio, variance=1.0, t=t))
    return rows


def crossover_trained(
    found=((0.05, 0.04, 0.06), (0.9, 0.88, 0.92)),
    exact=((0.02, 0.02, 0.02), (0.895, 0.8, 0.9)),
    copied=(0.09, 0.91),
    losses=(0.5475, 0.724),
    sizes=(4, 8, 20),
):
    """The first variance's transition lies at the edge of what is within 0.02."""
    rows = []
    for place, variance in enumerate((0.25, 4.0)[: len(found)]):
        here = {"variance": variance, "data_set": 0}
        shares = copied if place else (0.0, 1.0)
        for size, share in ((4, shares[0]), (20, shares[1])):
            rows.append(row("memorized_fraction", share, **here, size=size, size_over_n=size / 20))
        if found[place]:
            rows.append(row("transition_fraction", *found[place], variance=variance, point="middle"))
        rows.append(row("transition_fraction", 0.5, variance=variance, point="start"))
        for name, told in ((EXACT, exact[place]), ("constant 0.8", (0.8, 0.8, 0.8))):
            rows.append(row("crossover_fraction", *told, variance=variance, prediction=name))
        loss = {"on": "train", "t": 0.36, **here}
        rows.append(row("denoising_loss", 0.8, **loss, denoiser="generalizing"))
        rows.append(row("denoising_loss", 0.1, **{**loss, "on": "fresh"}, denoiser="generalizing"))
        for size, trained, partly in ((4, losses[0], 0.5), (8, losses[1], 1.0), (20, 3.0, 0.2)):
            if size not in sizes:
                continue
            at = {**loss, "size": size, "size_over_n": size / 20}
            rows.append(row("denoising_loss", trained, **at, denoiser="trained"))
            rows.append(row("denoising_loss", partly, **at, denoiser="partly memorizing"))
    return rows


def digits_trained(copied=(0.09, 0.5, 0.91), middle=((0.8, 0.8, 0.8),)):
    rows = [row("memorized_fraction", share, size=size) for size, share in zip((2, 8, 16), copied, strict=True)]
    rows += [row("transition_fraction", *found, point="middle") for found in middle]
    return [*rows, row("transition_fraction", 0.5, 0.4, 0.6, point="start")]


def templates_trained(copied=(0.09, 0.5, 0.91), middle=((0.7, 0.6, 0.752),), exact=(0.9, 0.8, 0.95)):
    return [
        *digits_trained(copied, middle),
        row("crossover_fraction", 0.8, prediction="constant 0.8"),
        row("crossover_fraction", *exact, prediction=EXACT),
    ]


def dimension_collapsed(half=4.9, full=0.95, copied=0.48, low=0.51, sizes=(0.25, 0.5, 1.0)):
    """The law has ten dimensions; at the smallest size there is nothing yet."""
    rows = []
    for size, share in zip(sizes, (0.0, copied, 1.0), strict=True):
        rows.append(row("memorized_fraction", share, size_over_n=size))
    for t in (0.1, 0.6):
        for on, law in (("training points", 10.0), ("fresh points", 99.0)):
            rows.append(row("local_dimension", law, denoiser="generalizing", on=on, t=t))
        for size, value in zip(sizes, (9.0, half, full), strict=True):
            rows.append(row("local_dimension", value, denoiser="trained", on="training points", t=t, size_over_n=size))
            rows.append(row("local_dimension", 9.0, denoiser="trained", on="fresh points", t=t, size_over_n=size))
        rows.append(row("auc", 0.4, t=t, size_over_n=0.25))
        rows += [row("auc", 0.8, low, 0.9, t=t, size_over_n=0.5), row("auc", 0.8, 0.7, 0.9, t=t, size_over_n=1.0)]
    return rows if low else [one for one in rows if one.low is None]


def edge_duplicates(counts=(1, 2, 16), repeated=-0.01, others=-0.01, whole=0.648, gone=()):
    """What is given is told of two copies; of more it holds."""
    rows = []
    for count in counts:
        rows.append(row("crossover_fraction", 0.6, 0.5, 0.7, count=count, prediction=EXACT))
        rows.append(row("crossover_fraction", 0.1, count=count, prediction=CLOSED_1))
        for points, high in (("repeated", repeated), ("others", others), ("all", -0.01)):
            here = {"points": points, "count": count}
            middle = whole if points == "all" and count == 2 else 0.6
            rows += [row("transition_fraction", middle, **here, point="middle")] * ((points, count) not in gone)
            rows.append(row("transition_fraction", 0.1, **here, point="start"))
            if count > 1 and (points, count) not in gone:
                rows.append(row("shift_fraction", -0.2, -0.3, high if count == 2 else -0.1, **here))
    return rows


def edge_stress(changes=None, gone=(), better=-0.01, intervals=True):
    """By setting: the shift that was found, and the one that exact losses told."""
    settings = {
        ("variance", "4"): ((0.1, 0.05, 0.15), 0.05),
        ("variance", "0.1"): ((-0.1, -0.15, -0.05), -0.05),
        # Of these two it is not known whether they moved.
        ("priors", "4 to 1"): ((0.1, 0.0, 0.2), 0.0),
        ("shape", "3 directions"): ((-0.1, -0.2, 0.0), 0.0),
        ("optimizer", "half the rate"): ((0.0, -0.02, 0.01), 0.0),
        ("optimizer", "twice the rate"): ((0.0, -0.01, 0.02), 0.0),
    } | (changes or {})
    rows = [row("better_fraction", better - 0.1, better - 0.2, better, prediction=name) for name in (EXACT, CLOSED_1)]
    for (kind, value), (found, told) in {("base", "base"): (None, None), **settings}.items():
        here = {"kind": kind, "value": value}
        rows.append(row("crossover_fraction", 0.7, **here, prediction=EXACT))
        if found:
            rows.append(row("shift_fraction", told, **here, prediction=EXACT))
            rows.append(row("shift_fraction", 9.0, **here, prediction=CLOSED_1))
        if value not in gone:
            rows.append(row("transition_fraction", 0.7, **here, point="middle"))
            if found:
                rows.append(row("shift_fraction", *found[: 3 if intervals else 1], **here, prediction="found"))
    return rows


SQUARED = ("26 weights, closed forms", "26 weights, closed forms, seen")


def edge_sweep(middles=(0.8, 0.838), homogeneity=0.05, straight=(0.99, 1.0), better=None, squared=None, errors=True):
    rows = []
    for n, middle in zip((50, 100), middles, strict=True):
        rows.append(row("crossover_fraction", 0.8, n=n, prediction=EXACT))
        rows.append(row("crossover_fraction", 0.8, n=n, prediction=CLOSED_1))
        rows += [row("transition_fraction", middle, n=n, point="middle")] if middle else []
        rows.append(row("transition_fraction", 0.1, n=n, point="start"))
    rows += [row("straight_score", value, n=50 * (place + 1)) for place, value in enumerate(straight)]
    rows += [row("homogeneity_score", homogeneity)] if homogeneity is not None else []
    for name in (EXACT, *SQUARED, CLOSED_1):
        high = (better or {}).get(name, -0.01)
        rows.append(row("better_fraction", -0.1, -0.2, high, prediction=name))
        rows.append(row("squared_error_fraction", (squared or {}).get(name, 2e-4), prediction=name))
        rows += [row("error_fraction", 0.1, prediction=name)] if errors else []
    return rows


WAYS = (("adam", "full batch"), ("sgd", "full batch"))


def memorization_in_time(growth=(1.2, 1.0, 1.5), censored=(0, 0), stopped=(0.147, 0.0), way=1):
    """One way to train is what the arguments say, the other is as it should be; their chances differ."""
    fine = {"growth": (1.2, 1.0, 1.5), "censored": (0, 0), "stopped": (0.147, 0.0)}
    told = {"growth": growth, "censored": censored, "stopped": stopped}
    rows = []
    for place, (optimizer, batch) in enumerate(WAYS):
        own, more = told if place == way else fine, 0.1 if place == 0 else 0.0
        here = {"optimizer": optimizer, "batch": batch}
        rows += [row("growth_score", *own["growth"], **here, first=50, last=100)] if own["growth"] else []
        for n, never, share in zip((50, 100), own["censored"], own["stopped"], strict=True):
            rows.append(row("censored_count", never, n=n, **here))
            rows.append(row("chance_fraction", 0.1 + more, n=n, **here))
            rows.append(row("stopped_memorized_fraction", share + more, n=n, **here))
    return rows


def in_time_cases(way):
    """Of one way to train."""
    name = ", ".join(WAYS[way])
    linearly, at_all = (
        f"{name} (N = 50 to 100): the onset grows linearly",
        f"{name} (N = 50 to 100): the onset grows with",
    )
    missing = (f"{name}: the onset grows linearly", f"{name}: the onset grows with")
    return [
        case("within the steps", censored=(0, 1), way=way),
        case(linearly, growth=(1.3, 1.01, 1.4), way=way),
        case(linearly, growth=(0.8, 0.6, 0.99), way=way),
        case(linearly, growth=(1.2, 0.98, 1.5), way=way),
        case(linearly, at_all, growth=(0.2, 0.0, 0.4), way=way),
        case(*missing, growth=(), way=way),
        case(*missing, growth=(1.0,), way=way),
        case(f"{name}: stopped", stopped=(0.153, 0.0), way=way),
        case(f"{name}: stopped", stopped=(0.0, 0.153), way=way),
    ]


def parameterization_swept(transitions=None, asked=("x0", "eps", "v")):
    found = {"x0": (52, 50, 120), "eps": (200, 121, 300), "v": (198, 125, 300)} | (transitions or {})
    rows = []
    for name in asked:
        rows.append(row("memorized_fraction", 0.5, parameterization=name, width=8))
        rows.append(row("predicted_count", 100, parameterization=name))
        rows += [row("transition_count", *found[name], parameterization=name)] if found[name] else []
    return rows


def cells_predicted(
    error=(0.02, 0.02, 0.02),
    better=(-0.01, -0.01, -0.01),
    variance=0.1,
    shift=(0.76, 0.84),
    ratios=(0.91, 1.09, 1.09),
    untold=(),
):
    """Outside 0.2 to 0.9 of N, for other predictions and other criteria nothing is claimed."""
    rows = []
    for among, off, gain in zip(("sweep", "stress", "criteria"), error, better, strict=True):
        for name, value, high in ((CELLS, off, gain), (EXACT, 0.5, 0.5)):
            rows.append(row("error_fraction", value, among=among, prediction=name))
            rows.append(row("better_fraction", high - 0.1, high - 0.2, high, among=among, prediction=name))
    # Of no claim, but the answer shows it.
    rows += [row("error_fraction", 0.3, among=among, prediction="constant 0.8") for among in ("sweep", "stress")]
    rows.append(row("variance_error_ratio", variance, among="sweep"))
    for value, found, told in zip(("4", "0.25"), shift[::-1], (0.835, 0.77), strict=False):
        here = {"among": "stress", "kind": "variance", "value": value, "criterion": 0.333}
        rows.append(row("transition_fraction", found, **here, point="middle"))
        rows += [row("crossover_fraction", told, **here, prediction=CELLS)] if value not in untold else []
        rows.append(row("crossover_fraction", 0.1, **here, prediction=EXACT))
        rows.append(row("crossover_fraction", 0.1, **{**here, "criterion": 0.5}, prediction=CELLS))
    rows.append(row("transition_fraction", 0.1, among="stress", kind="start", value="0.1", point="middle"))
    for on in ("train", "fresh") if ratios else ():
        for size, ratio in zip((0.2, 0.5, 0.9), ratios, strict=True):
            rows.append(row("loss_ratio", ratio, on=on, variance=1.0, size_over_n=size))
        rows += [row("loss_ratio", 5.0, on=on, variance=1.0, size_over_n=size) for size in (0.19, 0.91)]
    return rows


def transition_by_sampler(
    few=(0.08, 0.04, 0.12), many=(0.02, 0.015, 0.025), exact=(0.0, -0.02, 0.02), told=(0.095, 0.035, 0.015), error=0.02
):
    rows = []
    for name, found, by_cells in (
        ("104 times", many, told[1]),
        ("26 times", few, told[0]),
        ("exact draws", exact, told[2]),
    ):
        rows += [row("shift_fraction", *found, sampler=name, prediction="found")] if found else []
        rows += [row("shift_fraction", by_cells, sampler=name, prediction=CELLS)] if found and by_cells else []
    here = {"sampler": "26 times", "criterion": 0.5}
    return [
        *rows,
        # Of no claim, but the answer shows it.
        row("transition_fraction", 0.79, sampler="exact draws", criterion=0.333),
        *(row("error_fraction", e, **here, prediction=p) for p, e in ((CELLS, error), ("constant 0.8", 0.5))),
    ]


def transition_sharpness(
    whole=(-0.03, -0.06, -0.001),
    whole_cells=(-0.01, -0.02, -0.001),
    trained=(-0.2, -0.3, -0.01),
    cells=(-0.005, -0.01, -0.001),
):
    """At the other dimensions there are cells alone, or trained models alone; of one dimension nothing is claimed."""
    rows = [row("exponent_score", 0.5, 0.4, 0.6, prediction=CELLS, dim=60)]
    rows.append(row("exponent_score", 0.5, 0.4, 0.6, prediction="trained", dim=90))
    rows += [row("exponent_score", *whole, prediction="trained", dim="all")] if whole else []
    rows.append(row("exponent_score", *whole_cells, prediction=CELLS, dim="all"))
    for prediction, found in ((CELLS, cells), ("trained", trained)):
        rows += [row("exponent_score", *found, prediction=prediction, dim=30)] if found else []
        rows.append(row("width_fraction", 0.23, prediction=prediction, dim=30, n=50))
    return rows


def transition_without_threshold(copies=0.05, halves=(0.0, 0.02), whole=(0.05, 0.06), largest=(0.06, 0.07), off=0.0):
    rows = [row("transition_fraction", 0.9, denoiser="trained", criterion="largest N", point="end")]
    pairs = {
        "copies": (copies, copies and copies + off),
        "two halves": halves,
        "whole distribution": whole,
        "largest N": largest,
    }
    for criterion, values in pairs.items():
        for denoiser, value in zip(("trained", CELLS), values, strict=True):
            if value is not None:
                rows.append(row("transition_fraction", value, denoiser=denoiser, criterion=criterion, point="middle"))
    return rows


def local_denoiser(copied=(0.05, 0.1, 0.5, 1.0), first=(0.9, 0.3, 0.3, 0.2), last=(0.4, 0.5, 0.4, 0.9)):
    """r2 with the local, equivariant, bordered and memorizing denoiser; of the second width with two of them alike."""
    rows = [row("memorized_fraction", 0.7, machine="local")]
    for width, share, r2 in zip(
        (4, 8, 16, 24), copied, (first, (0.4, 0.6, 0.4, 0.6), (0.3, 0.2, 0.3, 0.5), last), strict=True
    ):
        rows.append(row("memorized_fraction", share, width=width, parameters=width**2))
        for machine, value in zip(("local", "equivariant", "bordered", "memorizing"), r2, strict=True):
            rows.append(row("r2_similarity", value, width=width, machine=machine))
            rows.append(row("r_similarity", value**0.5, width=width, machine=machine))
    return rows


LATER, COMPONENTS = "at a larger network than x0", "learned mixture's number"
EXPERIMENTS = {
    "crossover_predicted": Experiment(
        crossover_predicted,
        4,
        [
            case(),
            case("x0 weight", exact=(0.49, 0.7)),
            case("x0 weight", exact=(0.5, 0.91)),
            case("theorem 2", excess=((0.9, 0.8, 0.98), (0.6, 0.5, 0.7))),
            case("theorem 2", excess=((1.1, 1.0, 1.2), (1.2, 1.02, 1.4))),
            case("below 0.7", "every time", ratios=(1.0, 1.052, 1.0)),
            case("below 0.7", "every time", ratios=(0.948, 1.0, 1.0)),
            case("every time", ratios=(1.0, 1.0, 0.94)),
        ],
    ),
    "crossover_trained": Experiment(
        crossover_trained,
        7,
        [
            case(),
            case("every setting goes", copied=(0.1, 1.0)),
            case("every setting goes", copied=(0.0, 0.9)),
            case("variance 0.25", found=((0.05, 0.041, 0.06), (0.9, 0.88, 0.92))),
            case("variance 0.25", exact=((0.09, 0.081, 0.1), (0.93, 0.8, 0.95))),
            case("variance 4", found=((0.05, 0.04, 0.06), ()), says=4),
            case("moves up", found=((0.05, 0.04, 0.88), (0.9, 0.88, 0.92))),
            case("moves as far", exact=((0.02, 0.02, 0.02), (0.91, 0.8, 0.95))),
            case(
                "variance 0.25",
                "variance 4",
                "moves as far",
                "better than the constant",
                exact=((0.8, 0.8, 0.8), (0.8, 0.8, 0.8)),
            ),
            case("the training loss", losses=(0.5, 0.884)),
            case("the training loss", losses=(0.4475, 0.8)),
            case(says=6, sizes=(20,)),
            case(says=3, found=((0.05, 0.04, 0.06),)),
        ],
    ),
    "digits_trained": Experiment(
        digits_trained,
        2,
        [
            case(),
            case("there is a transition", copied=(0.1, 0.5, 1.0)),
            case("there is a transition", copied=(0.0, 0.5, 0.9)),
            case("covers 0.8", middle=((0.9, 0.81, 0.95),)),
            case("covers 0.8", middle=((0.7, 0.6, 0.79),)),
            case("covers 0.8", middle=()),
        ],
    ),
    "templates_trained": Experiment(
        templates_trained,
        2,
        [
            case(),
            case("there is a transition", copied=(0.1, 0.5, 1.0)),
            case("there is a transition", copied=(0.0, 0.5, 0.9)),
            case(middle=((0.99, 0.98, 1.0),), exact=(0.9, 0.8, 0.932)),
            case("within 0.05", middle=((0.7, 0.6, 0.748),)),
            case("within 0.05", middle=((0.99, 0.984, 1.0),), exact=(0.9, 0.8, 0.932)),
            case("within 0.05", middle=()),
        ],
    ),
    "dimension_collapsed": Experiment(
        dimension_collapsed,
        5,
        [
            case(),
            case("0.1: at M = N", "0.6: at M = N", full=1.05),
            case("0.1: it halves", "0.6: it halves", half=5.1),
            case("0.1: it halves", "0.6: it halves", copied=0.5),
            case("the copied ones", low=0.5),
            case(says=4, low=None),
            case(says=3, sizes=(0.25, 0.5, 0.75)),
        ],
    ),
    "edge_duplicates": Experiment(
        edge_duplicates,
        3,
        [
            case(),
            case("repeated points", repeated=0.0),
            case("so are the others", others=0.0),
            case("half of all samples", whole=0.652),
            case("half of all samples", whole=0.548),
            case("half of all samples", gone=(("all", 16),)),
            case("repeated points", gone=(("repeated", 16),)),
            case("repeated points", "so are the others", counts=(1,)),
        ],
    ),
    "edge_stress": Experiment(
        edge_stress,
        6,
        [
            case(),
            case("every setting has", gone=("4 to 1",)),
            case("every setting has", "optimizer does not matter", gone=("half the rate",)),
            case("the sign", "and as far", changes={("variance", "4"): ((0.1, 0.05, 0.15), -0.05)}),
            case("the sign", "and as far", changes={("variance", "0.1"): ((-0.1, -0.15, -0.05), 0.0)}),
            case("and as far", changes={("variance", "4"): ((0.1, 0.05, 0.15), 0.049)}),
            case("and as far", changes={("variance", "4"): ((0.1, 0.05, 0.15), 0.151)}),
            case("optimizer does not matter", changes={("optimizer", "half the rate"): ((0.0, -0.021, 0.0), 0.0)}),
            case("optimizer does not matter", changes={("optimizer", "half the rate"): ((0.01, 0.0, 0.021), 0.0)}),
            case("exact losses: predicts", "C = 1: predicts", better=0.0),
            case("the sign", "and as far", "optimizer does not matter", intervals=False),
        ],
    ),
    "edge_sweep": Experiment(
        edge_sweep,
        8,
        [
            case(),
            case(says=7, homogeneity=None),
            case(says=1, errors=False),
            case("every setting has", says=1, errors=False, middles=(0.8, None)),
            case("every setting has", middles=(0.8, None)),
            case("one ratio", homogeneity=0.049),
            case("within 0.02 of 0.8", middles=(0.8, 0.842)),
            case("within 0.02 of 0.8", middles=(0.758, 0.8)),
            case("straight line", straight=(0.98, 1.0)),
            case("straight line", straight=(1.0,)),
            case("the exact losses", better={EXACT: 0.0}),
            case("unseen settings better", better={SQUARED[0]: 0.0}),
            case("on unseen settings is at most", squared={SQUARED[0]: 2.1e-4}),
            case("on the settings it was fitted to", squared={SQUARED[1]: 2.1e-4}),
        ],
    ),
    "memorization_in_time": Experiment(memorization_in_time, 7, [case(), *in_time_cases(0), *in_time_cases(1)]),
    "parameterization_swept": Experiment(
        parameterization_swept,
        6,
        [
            case(),
            case(f"eps memorizes {LATER}", transitions={"eps": (130, 120, 150)}),
            case(f"v memorizes {LATER}", transitions={"v": (130, 119, 150)}),
            case(f"x0 memorizes at the {COMPONENTS}", transitions={"x0": (49, 45, 60)}),
            case(f"eps memorizes at the {COMPONENTS}", transitions={"eps": (205, 130, 300)}),
            case("every parameterization", f"v memorizes at the {COMPONENTS}", transitions={"v": ()}),
            case(
                "every parameterization",
                f"x0 memorizes at the {COMPONENTS}",
                f"eps memorizes {LATER}",
                f"v memorizes {LATER}",
                transitions={"x0": ()},
            ),
            case(says=3, asked=("eps", "v")),
        ],
    ),
    "cells_predicted": Experiment(
        cells_predicted,
        9,
        [
            case(),
            case("sweep: the mean", error=(0.021, 0.02, 0.02)),
            case("stress: the mean", error=(0.02, 0.021, 0.02)),
            case("criteria: the mean", error=(0.02, 0.02, 0.021)),
            case("sweep: cells", better=(0.0, -0.01, -0.01)),
            case("stress: cells", better=(-0.01, 0.0, -0.01)),
            case(better=(-0.01, -0.01, 0.0)),
            case("learned variance", variance=0.101),
            case("as far", shift=(0.754, 0.84)),
            case("as far", shift=(0.78, 0.824)),
            case(shift=(0.756, 0.84)),
            case(shift=(0.78, 0.826)),
            case(says=8, shift=(0.8,)),
            case(says=8, untold=("0.25",)),
            case("train: at t", "fresh: at t", ratios=(0.895, 1.0, 1.0)),
            case("train: at t", "fresh: at t", ratios=(1.0, 1.0, 1.105)),
            case(says=7, ratios=()),
        ],
    ),
    "transition_by_sampler": Experiment(
        transition_by_sampler,
        7,
        [
            case(),
            case("exact draws: the shift", exact=(0.0, -0.021, 0.02)),
            case("exact draws: the shift", exact=(0.0, -0.02, 0.021)),
            case("exact draws: cells", exact=(0.02, 0.01, 0.02), told=(0.095, 0.035, -0.001)),
            case("104 times: cells", told=(0.095, 0.041, 0.015)),
            case("26 times: cells", told=(0.101, 0.035, 0.015)),
            case("26 times: cells", told=(0.059, 0.035, 0.015)),
            case(told=(0.061, 0.001, -0.015)),
            case("26 times: the transition moves", few=(0.08, 0.0, 0.12)),
            case(many=(0.04, 0.03, 0.05)),
            case(many=(0.015, 0.01, 0.01501), told=(0.095, 0.02, 0.015)),
            case("104 times: what is left", many=(0.04, 0.0301, 0.05)),
            case("104 times: what is left", many=(0.005, 0.0, 0.0099), told=(0.095, 0.02, 0.015)),
            case(many=(0.005, 0.0, 0.01), told=(0.095, 0.02, 0.015)),
            case("criterion 0.5", error=0.021),
            case(says=3, few=(), many=()),
            case(says=6, told=(0.095, None, 0.015)),
        ],
    ),
    "transition_sharpness": Experiment(
        transition_sharpness,
        3,
        [
            case(),
            case("trained, all", whole=(-0.03, -0.06, 0.0)),
            case("cells, all", whole_cells=(-0.01, -0.02, 0.0)),
            case(trained=(-0.001, -0.001, 0.0), cells=(-0.005, -0.01, -0.001)),
            case("have intervals", trained=(-0.2, -0.3, -0.011)),
            case("have intervals", cells=(-0.4, -0.5, -0.31)),
            case(says=2, trained=()),
            case(says=2, whole=()),
        ],
    ),
    "transition_without_threshold": Experiment(
        transition_without_threshold,
        10,
        [
            case(),
            case("two halves: cells", halves=(0.0, 0.021)),
            case("whole distribution: cells", whole=(0.05, 0.071)),
            case("largest N: cells", largest=(0.06, 0.039)),
            case("two halves: the transition", copies=0.051),
            case("whole distribution: the transition", whole=(0.101, 0.1)),
            case("largest N: the transition", largest=(0.101, 0.1)),
            case("copies: trained", says=6, copies=None),
            case("two halves: trained", says=8, halves=(None, 0.0)),
            case("whole distribution: trained", says=8, whole=(None, 0.0)),
            case(says=9, whole=(0.05, None)),
            case("copies: cells", copies=0.05, off=0.021),
        ],
    ),
    "local_denoiser": Experiment(
        local_denoiser,
        4,
        [
            case(),
            case("the narrowest", first=(0.9, 0.3, 0.3, 0.9)),
            case("median r2", first=(0.89, 0.3, 0.3, 0.2)),
            case(first=(0.3, 0.3, 0.9, 0.2)),
            case("the widest network is more", "only there", last=(0.95, 0.5, 0.4, 0.9)),
            case("only there", last=(0.4, 0.9, 0.4, 0.9)),
            case("only there", copied=(0.05, 0.46, 0.49, 1.0)),
            case("only there", copied=(0.05, 0.5, 0.5, 1.0)),
            case(copied=(0.05, 0.46, 0.5, 1.0)),
            case(copied=(0.095, 0.1, 0.5, 1.0)),
            case(says=3, copied=(0.1, 0.1, 0.5, 1.0)),
        ],
    ),
}


@pytest.mark.parametrize(("name", "one"), flat(EXPERIMENTS))
def test_claims_say_what_the_rows_show(name: str, one: Case):
    said = claims_of("edge", name)(EXPERIMENTS[name].build(**one.changes))
    assert agrees(EXPERIMENTS[name], one, said), said
