"""The only code that changes a node: a closed set of steps, each of which can be undone."""
