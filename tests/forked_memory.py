"""What a forked process copies of the memory that it shares with its parent."""

import os

from measuring.process_memory import own_bytes


def bytes_copied_by(action):
    """Bytes by which the memory of its own of a forked process grows while it does `action()`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = own_bytes(os.getpid())
        action()
        os.write(writing, str(own_bytes(os.getpid()) - before).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        copied = int(file.read())
    assert os.waitpid(child, 0)[1] == 0
    return copied
