"""Settings of every test, and of every example in a docstring."""

import os

# They run in several processes, whose threads would wait for one another. Read when numpy and
# torch are loaded, so before any of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
