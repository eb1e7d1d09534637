// Package assistant is the domain of a chat backend: messages and their parts, the events and commands of a
// conversation, and the interfaces to language models and stores. It starts no goroutine and does no I/O; it
// knows no HTTP, no WebSocket, no database and no web server. The folders below it are the engine and its
// adapters, and import it:
//
//   - conversation: the engine. Conversations as logs of events, the loop that streams answers into them.
//   - session: one socket. Its table in protocol.go is the protocol; a newcomer reads that first.
//   - limits: rates and budgets. chain: several providers as one.
//   - wire and stream: typed messages, and the log that many follow. They know nothing of the domain.
//   - ws: WebSocket connections. openai, demo: providers. memory, sqlite, postgres: stores.
//   - assistanttest: transcripts, and the contract suites for stores and providers.
//
// A test (imports_test.go at the top of the module) holds the direction of the imports.
//
// # What is wanted and what happened
//
// What a client wants of a conversation is a [Command]; what happened in it is an [Event]. Both are plain
// values: they hold no pointer into anything that lives, so that they can be kept, copied and sent to another
// process. A command that is not accepted returns an error, which [Describe] turns into what a client may
// learn.
package assistant
