// Loaded into a server of Node's before its own code, it writes a line for each response that the client gave up.
import { subscribe } from "node:diagnostics_channel";

subscribe("http.server.request.start", ({ request, response }) => {
	response.once("close", () => {
		if (!response.writableFinished) console.log("gone", request.url);
	});
});
