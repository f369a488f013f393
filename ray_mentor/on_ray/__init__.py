"""The only place that imports Ray: actor, worker loop, trainer.

Import from the modules. This page loads nothing, so that the process of a light actor need not load PyTorch.
"""
