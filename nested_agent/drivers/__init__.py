"""What differs between CPU vendors, as stevedore plugins (``nested_agent.drivers``)."""
