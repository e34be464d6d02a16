"""Asking the agent of another node, and answering. Nothing here is needed to verify."""
