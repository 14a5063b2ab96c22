#!/usr/bin/python3
"""A program that a server starts and keeps: FastCGI or SCGI on the listening socket that is its standard input.

    resident.py WORD...         fastcgi or scgi, and how it misbehaves: quits, deaf, mutters

It answers one connection after the other, with its process number and the word behind /say/ in the path."""
import os
import signal
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers import fcgi, scgi        # noqa: E402


def serve(call):
    try:
        while True:
            call.begin()
            body = call.read_body()
            query = call.params.get("QUERY_STRING", "")
            if query == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if query == "fail":
                sys.exit(3)
            if query.startswith("sleep="):
                time.sleep(float(query[6:]))
            names = "\n".join(f"{n}={v}" for n, v in sorted(os.environ.items()))
            call.answer(f"{os.getpid()} {os.getuid()} {query} {len(body)}\n{names}\n")
            call.end()
            if not call.keep:
                return
            call.pairs, call.body, call.ended, call.finished = [], b"", False, False
    except fcgi.Gone:
        pass


def main():
    words = sys.argv[1:]
    if "mutters" in words:
        print("on stdout", flush=True)
        print("on stderr\x1b", file=sys.stderr, flush=True)
    if "quits" in words:
        sys.exit(7)
    if "deaf" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listening = socket.socket(fileno=0)
    while True:
        sock, _ = listening.accept()
        serve((scgi if "scgi" in words else fcgi).Call(None, sock, 0))
        sock.close()


if __name__ == "__main__":
    main()
