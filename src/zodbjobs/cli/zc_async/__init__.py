"""Lists what is left in the queues of zc.async, without zc.async and without its Python."""
