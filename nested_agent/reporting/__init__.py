"""The channels a Report goes out by."""
