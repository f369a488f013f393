"""The only place that imports Ray: actor, worker loop, trainer.

Import from the modules. This page sets Ray's environment before any of them imports Ray, and loads
nothing, so that the process of a light actor need not load PyTorch.
"""

from ray_mentor.on_ray.session.environment import set_environment

set_environment()
