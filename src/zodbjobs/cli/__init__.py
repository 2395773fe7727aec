"""The command line: ``zodbjobs worker|put|jobs|show|watch|cancel|retry|remove|stats|demo``."""
