"""The guarded child: the bytes of a file on standard input, one JSON object on standard output.

Run by path in an isolated interpreter (`python -I child.py KIND MEGABYTES SECONDS FOLDER`), so that a crash, a
loop or a flood of memory in a parser ends this process alone.
"""

import gc
import json
import os
import resource
import sys


def main() -> None:
    kind, megabytes, seconds, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # trees without cycles, in a process that soon ends: looking for garbage took half of the time
    gc.disable()
    # the libraries print what they like: only our answer may reach the parent
    answer = os.dup(1)
    os.dup2(2, 1)
    data = sys.stdin.buffer.read()
    # at the end of the path, so that no module of ours can hide one of the standard library
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from mechanistic.reading.reader import answer as answer_to

    # written in a pipe, to which the limit on file size does not apply
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        json.dump(answer_to(data, kind, folder), out)


if __name__ == "__main__":
    main()
