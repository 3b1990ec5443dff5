"""Ensembles: several runs become one, and what is fitted to their answers.

How the members' answers become one is a part of the run that is made, like the members' networks
(:mod:`torchfolio.tasks.combination`). What fits that part is here; no run needs it afterwards.
"""
