"""A student portal with exports that run in the background: the example of `zodbjobs.grok`."""
