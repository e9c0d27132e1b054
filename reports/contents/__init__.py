"""What the pages read of each kind of stored measurement, as schemas: they see nothing that is not named here.

A file that falls short of its schema is refused by name when it is read; see `hpt.documents` for the words.
"""
