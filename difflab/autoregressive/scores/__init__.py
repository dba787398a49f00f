"""Was a text trained on? One membership score a file: a number for every text, higher = more likely a member."""
