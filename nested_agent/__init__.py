"""Verifies nested virtualization on OpenStack compute nodes and keeps it that way."""
