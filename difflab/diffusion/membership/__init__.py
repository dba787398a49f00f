"""Was a picture trained on? One membership score a file: a number for every picture, higher = more likely a member."""
