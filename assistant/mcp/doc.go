// Package mcp makes the tools of a server of the Model Context Protocol available to models. The server is asked over
// streamable HTTP, or is a program that is started here and asked over its standard input and output.
//
// # What is promised
//
// A call is sent once. Whatever happens afterwards, it is not sent again: an error of [Source.Call] says that it is not
// known whether the call was made, or is [assistant.ErrNotCalled] where that is certain. Each call carries its id as
// _meta["io.caddyassistant/callId"], by which a server can recognize it.
//
// The list of tools is asked for when it is first needed, and again when it is older than refresh, when the server's
// ttlMs is over, or when the server says that it has changed. [Source.Tools] waits for less than a second; then it
// returns the list that it has, with an error, while the question goes on.
//
// # Sessions
//
// Headers may differ by user, and so may the tools that a server offers. All users with equal headers share one
// session and one list; a program has one session for all. A session is closed when it was idle for ten minutes, when
// 256 others were used later, and after any fault of the transport; calls under way on it may end first. A list whose
// session fails is asked for once more on a new one. A program that has died is started again when it is next needed,
// but not at once when it dies again and again: the pause grows from one second to one minute.
//
// # Trust
//
// Names that are no names for models are changed, and then end with a hash: two tools never share a name, and a name
// never comes to mean another tool. Tools with parameters that are no schema of an object are left out. What a server
// says about its tools being read-only is believed unless it is marked untrusted. Redirects are not followed, and
// links in results are not opened. Where a result repeats a header or a variable that looks like a credential by its
// name, the value is hidden; errors show no value of either.
//
// The server may ask the user a question in the middle of a call where both speak protocol 2026-07-28: the call then
// ends with [assistant.Needs], and goes on with the answers, in any process. Older servers would have to wait for the
// answer with an open connection; they are told that nobody can be asked. Sampling and roots are never offered.
package mcp
