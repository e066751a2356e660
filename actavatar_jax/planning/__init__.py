"""Machines that are not here: programs compiled for them, their memory, collectives and time, and what would fit.

`training` plans the step of a training, `sampling` what makes a video, `encoding` what encodes clips.
"""
