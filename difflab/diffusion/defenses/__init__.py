"""Defenses against copying, one file each: what they switch off, or what they turn prompts into."""
