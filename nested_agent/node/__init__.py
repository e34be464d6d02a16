"""What is true on this node. Reads only: nothing in here changes anything."""
