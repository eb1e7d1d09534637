// Package assistanttest helps to test the assistant and what plugs into it.
//
//   - [Serve] runs an assistant behind a real HTTP server and real gorilla code over in-memory pipes, so
//     that a whole conversation fits into a testing/synctest bubble.
//   - [Script] is a model that does what a few lines of text say.
//   - [Transcript] plays a file of client frames and compares what the server sent.
//   - [TestProvider] is the contract suite of every assistant.Provider.
package assistanttest
