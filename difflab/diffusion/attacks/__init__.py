"""Attacks on a defended model: do they bring a memorized picture back? One file each."""
