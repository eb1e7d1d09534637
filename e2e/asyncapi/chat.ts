// Chats by the models that are generated beside it: prints the answer to a question, then its usage.
//
//	node chat.js <URL> <question>
import WebSocket from "ws";
import { CompleteStreamingMessage } from "./models/CompleteStreamingMessage";
import { ErrorMessage } from "./models/ErrorMessage";
import { SendMessage } from "./models/SendMessage";
import { StreamingMessage } from "./models/StreamingMessage";
import { StreamingStartMessage } from "./models/StreamingStartMessage";

type Answer = StreamingStartMessage | StreamingMessage | CompleteStreamingMessage | ErrorMessage;

const [url, content] = process.argv.slice(2);
const question: SendMessage = { action: "send_message", payload: { content, client_id: "c-1" }, ref: "q1" };

const socket = new WebSocket(url);
socket.on("open", () => socket.send(JSON.stringify(question)));
socket.on("message", (data) => {
  const frame = JSON.parse(String(data)) as Answer;
  if (frame.ref !== question.ref) throw new Error(`an answer to ${frame.ref}`);
  switch (frame.action) {
    case "streaming_start":
      console.log(`${frame.payload.model}:`);
      break;
    case "streaming":
      process.stdout.write(frame.payload.content);
      break;
    case "complete_streaming":
      console.log(`\n${frame.payload.finish_reason}, ${frame.payload.usage?.total_tokens} tokens`);
      socket.close();
      break;
    case "error":
      throw new Error(Array.isArray(frame.payload) ? frame.payload[0].msg : frame.payload.reason);
  }
});
