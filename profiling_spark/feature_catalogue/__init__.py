"""What features there are: names, types, windows and meanings. It imports no other room, so that all may import it.

The kernels of `features` compute them, `contracts` makes the table's columns of them, `config` checks the settings
against them.
"""
