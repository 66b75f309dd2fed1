"""Bad input, a row a case: each is refused in one line that names what was given and wanted.

`python -m tests.bad_input` runs every row of the everyday doors, and says how long it takes to be
refused: median and longest.
"""
