"""All that we use of Ray without its promise that it stays: the folder to look through when Ray's next minor comes.

Private modules and arguments, what is known by the beginning of a name, errors that are told by their English.
``tests/on_ray/session/test_internals.py`` says that no other file does. A file for each of Ray's libraries, so that no
process loads what it does not use.
"""
