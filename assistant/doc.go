// Package assistant is the chat backend itself: conversations, the loop that streams a model's answers
// into them, and the sessions that carry them to clients. It knows neither HTTP nor any WebSocket
// library, model, database or web server; those are thin packages around it.
//
// Start reading at the table in protocol.go: it is the protocol.
//
// # How it fits together
//
//	socket ── Session ──► Protocol.Dispatch ──► handler ──► conversation: queue of turns
//	   ▲         │                                             │ one goroutine while busy
//	   │      reader                                           ▼
//	   └────── writer ◄── cursor ── stream.Log ◄── append ── Provider.Stream
//
// A conversation is a log of numbered events. An answer is appended piece by piece, whoever listens;
// each session follows the log from its own cursor. So the model never waits for a client, no piece is
// dropped for a slow one, and sockets never wait for each other.
//
// # What is promised
//
//   - Questions of one conversation are answered in the order of their arrival.
//   - Every streaming_start is followed by exactly one complete_streaming, also after an error, a stop
//     or a panic.
//   - Of several providers the next one is asked only while nothing of the answer has been shown: no text
//     is doubled, and none is lost.
//   - A session reads on while answers stream: ping, stop and further questions are served at once.
//   - When the socket of a connection's own conversation is gone, the model's request is cancelled. An
//     answer in a stored conversation goes on without any socket, for [Config.FinishAlone].
//   - The question of a stored conversation is durable before its streaming_start; its answer is stored
//     while it streams, and whole before its complete_streaming.
//   - A socket that comes back gets the events that it missed, or a snapshot that contains them: what it
//     ends with is what the model said, whenever and however often it was cut.
//   - Every verb asks in one place (admit) whether the user may touch the conversation.
//   - Every question is counted in one place before it is stored (turn.count), and what it costs while it
//     is answered (meter).
//   - No input, no model and no client ends the process: goroutines recover, queues are bounded.
//
// # Goroutines
//
// Serve runs the reader on the caller's goroutine. A writer exists while there is something to write,
// and is waited for by the reader. A conversation has one goroutine while a question waits or is being
// answered, started and waited for by the [Hub], and one that stores the answer meanwhile. No lock is held
// while a provider, a store or a socket is called.
//
// # What lives and what is configured
//
// A [Hub] holds what lives: conversations in use, sessions, what is counted for limits, the store. An
// [Assistant] is one generation of settings. [Hub.Use] makes a newer one count for every session's next
// question; running answers keep theirs. So a change of the configuration disturbs nobody.
//
// An [Observer] is told what happens, for metrics, traces and events; a line of the log tells of each session
// and each answer when it ends.
package assistant
