"""Every option, one module per group."""
