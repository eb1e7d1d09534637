"""Chats in a stored conversation by the client that Chanx generates beside it, and prints the answer.

A frame that the client's models do not take ends it with an error.

usage: chanx.py <host:port> <question>
"""

import asyncio
import sys

from client.assistants import messages as m
from client.assistants.client import AssistantsClient


class Chat(AssistantsClient):
    path = AssistantsClient.path + "?user=ann"  # who has a name has a list

    def __init__(self, server, question):
        super().__init__(server)
        self.question, self.conversation, self.answer, self.topic = question, "", "", None

    async def send_init_message(self):
        await self.send_message(m.CreateConversationMessage(ref="create"))

    async def handle_message(self, message):
        match message:
            case m.ConversationCreatedMessage(payload=created):
                self.conversation, self.topic = created.conversation_id, f"conversation:{created.conversation_id}"
                await self.send_message(m.SubscribeMessage(topic=self.topic, ref="subscribe"))
            case m.SnapshotMessage(payload=snapshot) if not snapshot.messages:
                question = m.SendMessagePayload(content=self.question)
                await self.send_message(m.SendMessage(payload=question, topic=self.topic, ref="ask"))
            case m.SnapshotMessage(payload=snapshot):
                print("stored:", snapshot.messages[0].content)
                print("ended:", snapshot.messages[1].finish_reason)
                renamed = m.RenameConversationPayload(conversation_id=self.conversation, title="Renamed")
                await self.send_message(m.RenameConversationMessage(payload=renamed, ref="rename"))
            case m.StreamingMessage(payload=piece):
                self.answer += piece.content
            case m.CompleteStreamingMessage():
                print("answer:", self.answer)
                await self.send_message(m.SubscribeMessage(topic=self.topic, ref="again"))
            case m.ConversationUpdatedMessage(ref="rename"):
                await self.send_message(m.ListConversationsMessage(ref="list"))
            case m.ConversationsMessage(payload=page):
                print("listed:", page.items[0].title)
                deleted = m.DeleteConversationPayload(conversation_id=self.conversation)
                await self.send_message(m.DeleteConversationMessage(payload=deleted, ref="delete"))
            case m.ConversationDeletedMessage(ref="delete"):
                await self.disconnect()
            case m.ErrorMessage():
                sys.exit(f"error: {message}")

    async def handle_invalid_message(self, invalid_message):
        sys.exit(f"a frame that the client does not take: {invalid_message}")

    async def handle_websocket_connection_error(self, e):
        raise e


asyncio.run(asyncio.wait_for(Chat(*sys.argv[1:]).handle(), 60))
