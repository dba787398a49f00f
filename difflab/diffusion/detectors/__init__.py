"""How memorized is a caption? One detector a file: a score for every caption, higher = more memorized."""
