# # Predict a crossover and see it happen
#
# A model with M components is trained on N points. While it is small, it can only learn the law that the points came
# from. If it has nearly a component for every point, it can keep the points themselves, and its samples are copies.
# Where is the step from one to the other? Theory compares two exact denoisers and says so before anything is trained.

import difflab

# First the prediction. Nothing is trained here: the losses of the exact denoisers are taken by Monte Carlo on 40 points
# in 20 dimensions.

law = {"n": 40, "dim": 20, "components": 2, "variances": (1.0,)}
predicted = difflab.run("crossover_predicted", **law, times=10, replicates=8, out=None)
for row in predicted.rows:
    if row.metric == "crossover_fraction" and row.setting.get("parameterization") == "x0":
        print(f"predicted by {row.setting['prediction']}: {row.value:.2f} of N")

# Then we train models of five sizes on points of the same law, and count how many of their samples are copies: samples
# that lie three times nearer to their nearest training point than to the second nearest.

few = {"seeds": 2, "samples": 300, "steps": 1000, "draws": 1, "times": 16, "loss_draws": 2, "replicates": 4}
trained = difflab.run("crossover_trained", **law, **few, sizes=(4, 20, 28, 34, 40), padded=True, out=None)
copies = trained.table("memorized_fraction", variance=1.0).groupby("size_over_n")["value"].mean()
for ratio, share in copies.items():
    print(f"M/N = {ratio:.2f}: {share:4.0%} of the samples are copies")

# The transition is where half of the samples are copies. It stands beside the prediction for this very data.

for row in trained.rows:
    if row.metric == "transition_fraction" and row.setting["point"] == "middle":
        print(f"found: half of the samples are copies at {row.value:.2f} of N")
    if row.metric == "crossover_fraction" and row.setting["prediction"] == "exact losses":
        print(f"predicted by the losses of this data: {row.value:.2f} of N")

# What is said of them are claims, and some fail: with few points and little training the two need not meet. The
# [findings](../findings/edge.md) say how near they come at a larger size.

for claim, held in trained.claims.items():
    print("held:" if held else "did not hold:", claim)
