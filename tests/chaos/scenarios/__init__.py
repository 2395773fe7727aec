"""One module for each kind of misfortune; `run` gets its row, a folder, and how much of it."""
