"""An application that leaves a file for everything that happens to it.

app.py FOLDER [late] [stubborn] [code=N]: listens at FOLDER/app.sock; `late` waits for FOLDER/go
first; `stubborn` ends by no signal that can be ignored; TERM and INT end it with code N.
"""

import os
import signal
import socket
import sys
import threading
import time

folder, options = sys.argv[1], sys.argv[2:]
code = next((int(one[5:]) for one in options if one.startswith("code=")), 0)


def leave(name, text=""):
    with open(os.path.join(folder, name + ".part"), "w") as file:
        file.write(text)
    os.rename(os.path.join(folder, name + ".part"), os.path.join(folder, name))


def wait_for(name):
    while not os.path.exists(os.path.join(folder, name)):
        time.sleep(0.02)


def told(number, _frame):
    leave("got-" + signal.Signals(number).name)
    if "stubborn" not in options and number != signal.SIGHUP:
        os._exit(code)


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, told)


def serve(connection):
    head = connection.recv(65536)
    if not head:
        return
    path = head.split(b" ")[1]
    leave("asked")
    if path == b"/held":
        wait_for("answer")
    if path.startswith(b"/end/"):
        os._exit(int(path[5:]))
    if path == b"/killed":
        os.kill(os.getpid(), signal.SIGKILL)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
    connection.close()


leave("pid", str(os.getpid()))
leave("port", os.environ.get("PORT", ""))
if "late" in options:
    wait_for("go")
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.path.join(folder, "app.sock"))
listener.listen(64)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
