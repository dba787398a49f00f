"""Déjà vu memorization in CLIP models (torch, open_clip): does a caption reveal objects that it never names?"""
