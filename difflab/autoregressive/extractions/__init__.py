"""Does a model give a text back? One extraction a file: how much of each text came, and whether that counts."""
