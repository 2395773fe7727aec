"""The tree of a lease and of a bundle."""

from __future__ import annotations

from BTrees.LOBTree import LOBTree


class WideTree(LOBTree):
    """Holds many jobs that come and go together: a few large leaves are less to store.

    Its leaves are those of a LOBTree, so any storage server can merge them. While the tree is
    but one leaf, a server that hasn't this package can't.
    """

    max_leaf_size = 240
