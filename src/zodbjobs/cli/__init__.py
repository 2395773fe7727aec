"""The command line ``zodbjobs``, whose commands are in `commands`. Needs the extra ``cli``."""
