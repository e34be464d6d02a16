"""Runs plans: who may, when, in which order, and what if it fails or is interrupted."""
