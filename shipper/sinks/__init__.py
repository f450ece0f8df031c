"""Where records go: one interface, the sinks that have it, and how the right one is found."""
