"""Search spaces for ``ray-mentor tune``, one module a study.

A module holds ``space()``, which returns setting names and their Ray Tune domains, and ``OBJECTIVE``, what a search of
it makes large: ``accuracy`` on the noisy validation split, or ``gap-per-cost``, how far that lies above the accuracy of
equal sample weights, over the ratio of the times. ``TRIALS`` says how many trials a search has, 16 without.

The names are the settings of ``ray-mentor train``, and two more: ``mentor_hidden`` is ``mentor_depth`` layers of width
``mentor_width``. A setting of several items is a text with ``+`` between them, such as ``loss+label``: Optuna takes no
tuples. A setting that another one makes meaningless may be in a space: it is left at its default there.
"""
