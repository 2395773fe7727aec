"""The trees that aren't plain ones: large leaves, or never empty."""

from __future__ import annotations

from BTrees.LOBTree import LOBTree

from zodbjobs.stored.lifecycle.keys import SENTINEL


class WideTree(LOBTree):
    """Holds many jobs that come and go together: a few large leaves are less to store.

    Its leaves are those of a LOBTree, so any storage server can merge them. While the tree is
    but one leaf, a server that hasn't this package can't.
    """

    max_leaf_size = 240


def lasting_tree() -> LOBTree:
    """A tree with the sentinel in it, which is never removed: it is never empty, and so two who
    add to it or take from it at once can be merged.
    """
    tree = LOBTree()
    tree[SENTINEL] = None
    return tree
