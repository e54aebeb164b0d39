"""One's own kernel, modules, device tree and files, laid over an image that is in the cache already.

`given` says what a user wants, `derive` makes it. Neither is imported here: the command line needs the
first at once, and hardly any run the second.
"""
