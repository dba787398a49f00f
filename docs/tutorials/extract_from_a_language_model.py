# # Extract from a language model
#
# A language model is trained on texts, some of which stand there many times. Which ones does it write word for word,
# and what of that would any good guesser write? Here we train a small one, so that we know what it saw; at the end
# stands the line for a model of your own.

import numpy as np

import difflab
from difflab.autoregressive.recipe import Recipe, architecture, build, packed
from difflab.autoregressive.tokenizers import word_level
from difflab.autoregressive.train import train
from synthetic.data.markov_text import MarkovText, markov_text

# Sentences come from a law that we draw: after each word come only a few others. The training set holds 600 sentences
# once, 20 others sixty times, and 60 twins of those, from the same law, never. Training goes through it about seven
# times.

law = MarkovText(vocabulary=64, length=30, branches=4, skew=1.0)
background, repeated, twins = (
    markov_text(0, range(start, stop), law).texts for start, stop in ((0, 600), (600, 620), (620, 680))
)

# The tokenizer knows the words, and one more token that stands between texts.

tokenizer = word_level([*background, *repeated, *twins])
config = architecture("gpt2", "tiny", len(tokenizer), 64, begin=tokenizer.eos_token_id)
model = build(config, seed=0, tokenizer=tokenizer, name="our model")

order = np.random.default_rng(0).permutation([*background, *(repeated * 60)])
rows = packed(model.encode(list(order)), 64, tokenizer.eos_token_id)
model = train(model, rows, Recipe(steps=400, batch=16, rate=3e-3), seed=0)

# The audit gives the model the first tokens of each text and compares what it writes. Twins show what guessing gives.

few = {"prefix": (5, 10), "suffix": 20, "samples": (10,), "resamples": 20, "null_sets": 50, "replicates": 200}
audit = difflab.extract(model, list(repeated), list(twins), **few)
extracted = audit.table("extracted_fraction", method="exact")
print(extracted[["texts", "prefix", "value", "low", "high", "n"]].to_string(index=False))

# Scores tell seen texts from unseen ones. The blind baseline sees the texts and no model: all come from one law, so
# that it can't tell them, and is near one half or, by chance, below it.

print(audit.table("auc")[["method", "value", "low", "high"]].to_string(index=False))

for claim, held in audit.claims.items():
    print("held:" if held else "did not hold:", claim)

# For a model of your own, a directory in transformers' format or a GGUF file:
# `difflab.extract("my_model/", texts="seen.jsonl", unseen="unseen.jsonl")`, or `difflab extract my_model/ --texts
# seen.jsonl --unseen unseen.jsonl` on the command line.

# What its inside shows without any training data, beside copies of it that were never trained: units, attention,
# entropies. These numbers are for comparing models of one kind: `difflab.inspect("my_model/")`, or `difflab inspect
# my_model/`; of a pipeline, too.
