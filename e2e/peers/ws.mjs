// Talks to an assistant with the npm package ws, and prints what came, one line each.
// usage: node ws.mjs <url>
import WebSocket from "ws";

const url = process.argv[2];

function open() {
	return new Promise((done, failed) => {
		const socket = new WebSocket(url, { perMessageDeflate: { threshold: 0 } });
		socket.once("open", () => done(socket));
		socket.once("error", failed);
	});
}

const closed = (socket) => new Promise((done) => socket.once("close", (code) => done(code)));

// until resolves with the payload of the next frame of an action.
function until(socket, action) {
	return new Promise((done) => {
		socket.on("message", function look(data) {
			const frame = JSON.parse(data);
			if (frame.action !== action) return;
			socket.off("message", look);
			done(frame.payload);
		});
	});
}

const socket = await open();
console.log("extensions", Object.keys(socket._extensions).join(" ")); // socket.extensions is empty on a client

let answer = until(socket, "pong");
socket.send('{"action":"ping"}');
await answer;
console.log("text answered");

answer = until(socket, "pong");
for (const [part, fin] of [['{"act', false], ["", false], ['ion":"ping"}', true]]) socket.send(part, { fin });
await answer;
console.log("fragments answered");

const pong = new Promise((done) => socket.once("pong", done));
socket.ping("p".repeat(125));
console.log("ping answered", (await pong).length);

answer = until(socket, "conversation_created");
socket.send('{"action":"create_conversation"}');
const topic = "conversation:" + (await answer).conversation_id;
answer = until(socket, "snapshot");
socket.send(JSON.stringify({ action: "subscribe", topic }));
await answer;
answer = until(socket, "user_message");
socket.send(JSON.stringify({ action: "assistant_message", topic, payload: "κόσμε ".repeat(2000) }));
console.log("large answered", (await answer).content === "κόσμε ".repeat(2000));

let end = closed(socket);
socket.close(4000, "bye");
console.log("closed", await end);

const binary = await open();
answer = until(binary, "error");
binary.send(new Uint8Array(3));
console.log("binary", (await answer)[0].type);
binary.close();

const text = await open();
end = closed(text);
text.send(Buffer.from([0x61, 0xff]), { binary: false });
console.log("no UTF-8", await end);
