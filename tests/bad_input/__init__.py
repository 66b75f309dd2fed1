"""Bad input, a row a case: each is refused in one line that names what was given and wanted.

`python -m tests.bad_input.commands` runs every row of the command line, and says how long it takes
to be refused: median and longest.
"""
