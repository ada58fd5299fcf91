"""A session on several machines: groups of cells handed out, and their records gathered here.

A group is the cells of one model, which are interleaved: it is carried out on one machine, whole.
"""
