"""Chats by the client that is generated beside it: prints the answer to a question.

usage: chat.py <question>
"""

import json
import sys
import threading

from client import AssistantAPI

connected, complete = threading.Event(), threading.Event()


class Chat(AssistantAPI):
    def on_open(self, ws):
        connected.set()


def on_streaming(frame):
    print(json.loads(frame)["payload"]["content"], end="")


def on_complete_streaming(frame):
    print("\n" + json.loads(frame)["payload"]["finish_reason"])
    complete.set()


chat = Chat()
chat.register_on_streaming_handler(on_streaming)
chat.register_on_complete_streaming_handler(on_complete_streaming)
chat.register_on_error_handler(print)
chat.connect()
if not connected.wait(20):
    sys.exit("not connected")
chat.send_assistant_message({"action": "assistant_message", "payload": sys.argv[1], "ref": "q1"})
if not complete.wait(20):
    sys.exit("no answer")
chat.close()
