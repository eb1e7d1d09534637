// The chat server that one writes in Node: ws and openai, a question in a frame, an answer in frames.
// It writes the address that it listens at, and runs until it is killed. $UPSTREAM is the model's server.
import OpenAI from "openai";
import { WebSocketServer } from "ws";

const client = new OpenAI({ baseURL: process.env.UPSTREAM, apiKey: "none", maxRetries: 0 });
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096 });

server.on("listening", () => console.log(`listening at 127.0.0.1:${server.address().port}`));
server.on("connection", socket => {
	const send = (action, content) => socket.send(JSON.stringify({ action, payload: { content } }));
	socket.on("error", () => {}); // a reset
	socket.on("message", async data => {
		try {
			const stream = await client.chat.completions.create({
				model: "gpt-4o",
				stream: true,
				messages: [{ role: "user", content: JSON.parse(data).payload }],
			});
			send("streaming_start", "");
			for await (const chunk of stream) {
				const content = chunk.choices[0]?.delta?.content;
				if (content) send("streaming", content);
			}
			send("complete_streaming", "");
		} catch (error) {
			console.error(error);
			socket.close(1011);
		}
	});
});
