"""Talks to an assistant with Python's websockets, and prints what came, one line each.

usage: python3 websockets_peer.py <url>
"""

import asyncio
import json
import sys

import websockets


async def until(socket, action):
    """Return the payload of the next frame of an action."""
    while (frame := json.loads(await socket.recv()))["action"] != action:
        pass
    return frame["payload"]


async def main(url):
    async with websockets.connect(url) as socket:
        print("extensions", " ".join(e.name for e in socket.extensions))
        await socket.send('{"action":"ping"}')
        await until(socket, "pong")
        print("text answered")
        await socket.send(['{"act', "", 'ion":"ping"}'])  # in fragments
        await until(socket, "pong")
        print("fragments answered")
        await (await socket.ping("p" * 125))  # which checks the payload
        print("ping answered 125")
        await socket.send('{"action":"create_conversation"}')
        topic = "conversation:" + (await until(socket, "conversation_created"))["conversation_id"]
        await socket.send(json.dumps({"action": "subscribe", "topic": topic}))
        await until(socket, "snapshot")
        question = "κόσμε " * 2000
        await socket.send(json.dumps({"action": "assistant_message", "topic": topic, "payload": question}))
        print("large answered", str((await until(socket, "user_message"))["content"] == question).lower())
        await socket.close(4000, "bye")
        print("closed", socket.close_code)
    async with websockets.connect(url) as socket:
        await socket.send(b"\0\0\0")
        print("binary", (await until(socket, "error"))[0]["type"])


asyncio.run(main(sys.argv[1]))
