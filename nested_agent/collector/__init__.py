"""The control plane's side: keeps every node's last report, and what changed."""
