"""Serves moto on a free port, which it prints, until its standard input ends."""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

application = DomainDispatcherApplication(create_backend_app)
# Kinesis of moto loses records when requests come side by side: "not safe for concurrency", says moto/kinesis/models.py.
lock = threading.Lock()


def one_at_a_time(environ, start_response):
    with lock:
        return application(environ, start_response)


server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
