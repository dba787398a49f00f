"""What users bring: captioned folders, labelled folders, lists of prompts."""
