"""``zodbjobs demo``: real jobs on the database of a student portal. Needs the extra ``cli``."""
