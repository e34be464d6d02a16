"""Compute nodes without hardware: real Debian systems under a software emulator.

``bed.Bed`` hands out nodes; everything it needs is built on first use and cached.
"""
